//! The program `wardlink-bs`.

use std::process::ExitCode;

use wardlink_bs::app::{Listeners, readiness, run};
use wardlink_bs::config::Settings;
use wardlink_service::{settings, stop};

#[tokio::main]
async fn main() -> ExitCode {
    match serve(settings::parse_or_exit()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "business server failed");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    settings.common().init_telemetry()?;
    let config = settings.config().unwrap_or_else(|bad| bad.exit());
    let (trigger, stop) = stop::channel();
    stop::signals(trigger)?;
    let listeners = Listeners::bind(&config).await?;
    run(config, listeners, readiness(stop.clone()), stop).await
}
