use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A tunnel in a task, with both outer ends.
fn tunnel(
    buffer: usize,
    early: &[u8],
) -> (
    DuplexStream,
    DuplexStream,
    tokio::task::JoinHandle<TunnelEnd>,
) {
    let (client, inner_client) = duplex(buffer);
    let (endpoint, inner_endpoint) = duplex(buffer);
    let early = Bytes::copy_from_slice(early);
    let task = tokio::spawn(Tunnel::new(inner_client, inner_endpoint, early, HOUR));
    (client, endpoint, task)
}

/// Writes `pieces` one by one, ends the stream, and reads the other to its end.
async fn exchange(stream: DuplexStream, pieces: Vec<Vec<u8>>) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let sender = tokio::spawn(async move {
        for piece in pieces {
            write.write_all(&piece).await.unwrap();
        }
        write.shutdown().await.unwrap();
    });
    let mut seen = Vec::new();
    read.read_to_end(&mut seen).await.unwrap();
    sender.await.unwrap();
    seen
}

#[tokio::test]
async fn what_came_with_the_101_goes_first() {
    let (mut client, mut endpoint, _task) = tunnel(64, b"early ");
    endpoint.write_all(b"late").await.unwrap();
    let mut seen = [0; 10];
    client.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"early late");
}

#[tokio::test]
async fn one_side_may_end_while_the_other_goes_on() {
    let (mut client, mut endpoint, task) = tunnel(64, b"");
    client.shutdown().await.unwrap();
    let mut seen = Vec::new();
    endpoint.read_to_end(&mut seen).await.unwrap();
    endpoint.write_all(b"still here").await.unwrap();
    endpoint.shutdown().await.unwrap();
    client.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, b"still here");
    assert_eq!(task.await.unwrap(), TunnelEnd::Closed);
}

#[tokio::test]
async fn a_side_that_breaks_off_ends_the_tunnel() {
    let (mut client, endpoint, task) = tunnel(64, b"");
    drop(endpoint);
    client.write_all(b"anyone?").await.ok();
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).await.unwrap();
    drop(client);
    assert_ne!(task.await.unwrap(), TunnelEnd::Idle);
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_silence_is_allowed_and_no_more() {
    let (mut client, mut endpoint, task) = tunnel(64, b"");
    tokio::time::sleep(HOUR - Duration::from_secs(1)).await;
    client.write_all(b"x").await.unwrap();
    let mut seen = [0];
    endpoint.read_exact(&mut seen).await.unwrap();
    tokio::time::sleep(HOUR - Duration::from_secs(1)).await;
    assert!(!task.is_finished());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(task.await.unwrap(), TunnelEnd::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_stops_the_sender() {
    let (mut client, endpoint, _task) = tunnel(1 << 10, b"");
    let sender = async {
        let mut sent = 0_usize;
        while sent < 1 << 20 {
            sent += client.write(&[0; 1 << 10]).await.unwrap();
        }
    };
    let stopped = tokio::time::timeout(Duration::from_secs(60), sender).await;
    assert!(
        stopped.is_err(),
        "a megabyte went into a tunnel nobody reads"
    );
    drop(endpoint);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Both directions at once, any bytes, any cuts, any buffer: each side reads
    /// exactly what the other wrote.
    #[test]
    fn bytes_pass_unchanged_in_both_directions(
        up in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        down in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        early in prop::collection::vec(any::<u8>(), 0..100),
        buffer in 1_usize..500,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, endpoint, task) = tunnel(buffer, &early);
            let sides = (exchange(client, up.clone()), exchange(endpoint, down.clone()));
            let (at_client, at_endpoint) = tokio::join!(sides.0, sides.1);
            prop_assert_eq!(at_client, [early, down.concat()].concat());
            prop_assert_eq!(at_endpoint, up.concat());
            prop_assert_eq!(task.await.unwrap(), TunnelEnd::Closed);
            Ok(())
        })?;
    }
}
