//! Files that are whole or not there: written beside, synced, renamed, with a checksum.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes `value` so that a reader finds the old file or the new one, never a part. Blocks.
pub(crate) fn write(file: &Path, value: &impl Serialize) -> io::Result<()> {
    use std::io::Write;
    let json = serde_json::to_string(value)?;
    let beside = file.with_extension("tmp");
    let mut out = std::fs::File::create(&beside)?;
    write!(out, "{:016x}\n{json}", checksum(json.as_bytes()))?;
    out.sync_all()?;
    std::fs::rename(&beside, file)
}

/// Reads what [`write`] wrote. Blocks.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] if there is no file, [`io::ErrorKind::InvalidData`] if it is damaged.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> io::Result<T> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged");
    let text = std::fs::read_to_string(file)?;
    let (sum, json) = text.split_once('\n').ok_or_else(damaged)?;
    if sum != format!("{:016x}", checksum(json.as_bytes())) {
        return Err(damaged());
    }
    serde_json::from_str(json).map_err(|_| damaged())
}

/// FNV-1a: finds a torn file, not a forged one.
fn checksum(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// Writes the store's state, and again with every change, at most once a second; what cannot be written is tried again.
/// Never ends.
#[cfg(feature = "server")]
pub(crate) async fn keep(store: &crate::InProcess, file: &Path) -> io::Result<()> {
    const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
    let mut changed = store.changed();
    // What was there before has to be written, too.
    changed.mark_changed();
    // The sender lives in the store.
    while changed.changed().await.is_ok() {
        let saved = store.read(crate::catalog::Catalog::save);
        let target = file.to_owned();
        let written = tokio::task::spawn_blocking(move || write(&target, &saved)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the state was not written"
            );
            changed.mark_changed();
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        write(&file, &vec![1, 2, 3]).unwrap();
        assert_eq!(read::<Vec<i32>>(&file).unwrap(), [1, 2, 3]);
        let text = std::fs::read_to_string(&file).unwrap().replace('2', "4");
        std::fs::write(&file, text).unwrap();
        assert_eq!(
            read::<Vec<i32>>(&file).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[cfg(feature = "server")]
    #[tokio::test(start_paused = true)]
    async fn what_was_there_before_or_could_not_be_written_is_written_later() {
        use std::time::Duration;

        use crate::catalog::{Catalog, KvWrite, Limits};

        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let file = missing.join("state");
        let store = crate::InProcess::default();
        let put = |catalog: &mut Catalog, now| {
            catalog.put_key("k", b"v".to_vec(), 0, KvWrite::Always, now)
        };
        store.change(put).unwrap();
        let later = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(!file.exists(), "there is no such folder");
            std::fs::create_dir(&missing).unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        tokio::select! {
            _never = keep(&store, &file) => {}
            () = later => {}
        }
        let restored = crate::InProcess::restore(&file, Limits::default()).unwrap();
        assert!(restored.read(|catalog| catalog.key("k").is_some()));
    }
}
