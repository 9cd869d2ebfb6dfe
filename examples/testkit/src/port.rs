//! Loopback ports that are free now and that this process hands out once.
//!
//! The operating system chooses a port, we close it and remember it, so that two tests of one process
//! never get the same. Another process may still take it in between: then the server fails to start
//! and says so in its log.
//!
//! ```
//! assert_ne!(testkit::port::free(), testkit::port::free());
//! ```

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, PoisonError};

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port on 127.0.0.1 on which nothing listens now.
///
/// # Panics
///
/// If the machine has no free loopback port at all.
#[must_use]
pub fn free() -> u16 {
    free_where(|_| true)
}

/// A free port for which `accept` holds too, for servers that derive further ports from it.
///
/// # Panics
///
/// If no such port is found in 1,000 tries.
#[must_use]
pub fn free_where(accept: impl Fn(u16) -> bool) -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    (0..1_000)
        .find_map(|_| candidate().filter(|port| accept(*port) && taken.insert(*port)))
        .expect("a loopback port is free")
}

/// `true` if nothing listens on this loopback port now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn candidate() -> Option<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).ok()?;
    Some(listener.local_addr().ok()?.port())
}
