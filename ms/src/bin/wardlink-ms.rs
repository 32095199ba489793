//! The program `wardlink-ms`.

use std::process::ExitCode;

use wardlink_ms::app::{Listeners, readiness, run};
use wardlink_ms::config::Settings;
use wardlink_service::{settings, stop};

#[tokio::main]
async fn main() -> ExitCode {
    match serve(settings::parse_or_exit()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "message server failed");
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
