//! A ward's bad days, with real processes: neighbours that misbehave, servers that are restarted one
//! after the other, a server that is cut off. They take turns, for what they measure is time.

mod cut_off;
mod neighbours;
mod rolling;

use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// One story at a time.
async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
