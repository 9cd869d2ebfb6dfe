//! How a process is asked to end.

use tokio::signal::unix::{SignalKind, signal};

/// Completes at SIGTERM or SIGINT (Ctrl-C). They are caught from the moment this returns, not only
/// once the future is polled.
///
/// # Errors
///
/// If the operating system does not let signals be caught.
pub fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
