//! The program `wardlink-operator`.

use std::process::ExitCode;

use wardlink_operator::{app, config::Settings};
use wardlink_service::{settings, stop};

#[tokio::main]
async fn main() -> ExitCode {
    let result = serve(settings::parse_or_exit()).await;
    let failed = |error| tracing::error!(error = format!("{error:#}"), "operator failed");
    result.map_err(failed).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    settings.common().init_telemetry()?;
    let (trigger, stop) = stop::channel();
    stop::signals(trigger)?;
    app::run(settings.config().await.unwrap_or_else(|bad| bad.exit()), stop).await
}
