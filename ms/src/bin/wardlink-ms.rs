//! The program `wardlink-ms`.

use wardlink_ms::app::{Listeners, readiness, run};
use wardlink_ms::config::Settings;
use wardlink_service::{settings, stop};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings: Settings = settings::parse_or_exit();
    settings.common().init_telemetry()?;
    let config = settings.config().unwrap_or_else(|bad| bad.exit());
    let (trigger, stop) = stop::channel();
    stop::signals(trigger)?;
    let listeners = Listeners::bind(&config).await?;
    run(config, listeners, readiness(stop.clone()), stop).await
}
