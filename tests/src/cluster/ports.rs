//! Ports for children: below the range that the kernel gives to outgoing connections, so that a
//! port stays free while its process is down.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::bail;

const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;
/// Tries; each fails only if the port is taken.
const TRIES: usize = 200;

/// Ports given to anybody in this test program.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A loopback port that is free now and is given once in this process.
///
/// # Errors
/// None is found.
pub fn free() -> anyhow::Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..TRIES {
        // A random UUID is the source of randomness that is at hand.
        let random = uuid::Uuid::new_v4().as_u128() % u128::from(LAST - FIRST);
        let port = FIRST + random as u16;
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("found no free port between {FIRST} and {LAST}")
}
