//! What becomes of answers that say more, or less, than was asked for.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::*;
use crate::watch::AbortOnDrop;

const NO_SUCH_NAME: u8 = 3;
const SERVER_FAILED: u8 = 2;

/// What a server says to one kind of question: a code, and the records of the three sections.
#[derive(Clone, Default)]
struct Script {
    code: u8,
    sections: [Vec<Vec<u8>>; 3],
}

fn record(name: &[u8], kind: Kind, ttl_seconds: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let mut record = [name, &(kind as u16).to_be_bytes(), &[0, 1]].concat();
    record.extend(ttl_seconds.to_be_bytes());
    record.extend(length.to_be_bytes());
    record.extend(data);
    record
}

/// Of the name that was asked for.
fn address(ttl_seconds: u32, last: u8) -> Vec<u8> {
    record(&[0xc0, 12], Kind::V4, ttl_seconds, &[10, 0, 0, last])
}

/// What every server of today adds: the size that it takes, and a time of zero.
fn option() -> Vec<u8> {
    vec![0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]
}

/// A name server that says the same every time.
async fn server(answer: impl Fn(u16) -> Script + Send + 'static) -> (SocketAddr, AbortOnDrop) {
    server_behind(|_| true, answer).await
}

/// A name server behind a network that only lets some datagrams through.
async fn server_behind(
    mut passes: impl FnMut(SocketAddr) -> bool + Send + 'static,
    answer: impl Fn(u16) -> Script + Send + 'static,
) -> (SocketAddr, AbortOnDrop) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let serve = async move {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            if !passes(peer) {
                continue;
            }
            let question = &buffer[..length - option().len()];
            let kind =
                u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
            let script = answer(kind);
            let mut message = question.to_vec();
            message[2..4].copy_from_slice(&[0x81, script.code]);
            for (section, records) in (0..).zip(&script.sections) {
                let count = u16::try_from(records.len()).unwrap();
                message[6 + 2 * section..8 + 2 * section].copy_from_slice(&count.to_be_bytes());
                message.extend(records.concat());
            }
            socket.send_to(&message, peer).await.unwrap();
        }
    };
    (address, AbortOnDrop(tokio::spawn(serve).abort_handle()))
}

async fn look_up(
    dns: Dns,
    answer: impl Fn(u16) -> Script + Send + 'static,
) -> Result<(Vec<String>, Duration), AskError> {
    let (address, _serving) = server(answer).await;
    let (instances, good_for) = dns.server(address).look_up("web.test").await?;
    Ok((instances.into_iter().map(|one| one.id).collect(), good_for))
}

fn only_four(script: Script) -> impl Fn(u16) -> Script {
    move |kind| match kind == Kind::V4 as u16 {
        true => script.clone(),
        false => Script::default(),
    }
}

#[tokio::test]
async fn the_address_of_the_name_server_is_no_instance() {
    let name_server = record(b"\x02ns\x04test\x00", Kind::V4, 3_600, &[10, 0, 0, 53]);
    let script = Script {
        sections: [
            vec![address(20, 1)],
            Vec::new(),
            vec![name_server, option()],
        ],
        ..Script::default()
    };
    let (found, _) = look_up(Dns::port(80), only_four(script)).await.unwrap();
    assert_eq!(found, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn an_answer_is_good_for_as_long_as_its_records_whatever_the_option_says() {
    let script = Script {
        sections: [
            vec![address(20, 1), address(25, 2)],
            Vec::new(),
            vec![option()],
        ],
        ..Script::default()
    };
    let (_, good_for) = look_up(Dns::port(80), only_four(script)).await.unwrap();
    assert_eq!(good_for, Duration::from_secs(20));
}

#[tokio::test]
async fn services_are_good_for_as_long_as_they_and_their_addresses() {
    let service = record(
        &[0xc0, 12],
        Kind::Service,
        25,
        b"\x00\x01\x00\x01\x00\x50\x01a\x00",
    );
    let along = record(b"\x01a\x00", Kind::V4, 7, &[10, 0, 0, 1]);
    let script = Script {
        sections: [vec![service], Vec::new(), vec![along, option()]],
        ..Script::default()
    };
    let found = look_up(Dns::services(), move |_| script.clone())
        .await
        .unwrap();
    assert_eq!(
        found,
        (vec!["10.0.0.1:80".to_owned()], Duration::from_secs(7))
    );
}

#[tokio::test]
async fn a_name_with_half_an_answer_that_is_empty_is_not_gone() {
    let half = |kind| Script {
        code: if kind == Kind::V4 as u16 {
            SERVER_FAILED
        } else {
            0
        },
        ..Script::default()
    };
    assert!(look_up(Dns::port(80), half).await.is_err());
}

#[tokio::test]
async fn half_an_answer_with_somebody_in_it_is_one() {
    let half = |kind| match kind == Kind::V4 as u16 {
        true => Script {
            sections: [vec![address(5, 1)], Vec::new(), Vec::new()],
            ..Script::default()
        },
        false => Script {
            code: SERVER_FAILED,
            ..Script::default()
        },
    };
    let (found, _) = look_up(Dns::port(80), half).await.unwrap();
    assert_eq!(found, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn a_name_that_one_half_says_does_not_exist_is_gone() {
    let half = |kind| Script {
        code: if kind == Kind::V4 as u16 {
            NO_SUCH_NAME
        } else {
            SERVER_FAILED
        },
        ..Script::default()
    };
    let (found, _) = look_up(Dns::port(80), half).await.unwrap();
    assert!(found.is_empty());
}

#[tokio::test]
async fn a_question_that_gets_lost_is_asked_again_before_the_server_counts_as_silent() {
    let mut seen = BTreeSet::new();
    let script = Script {
        sections: [vec![address(20, 1)], Vec::new(), Vec::new()],
        ..Script::default()
    };
    let second_of_each = move |peer| !seen.insert(peer);
    let (address, _serving) = server_behind(second_of_each, only_four(script)).await;
    let dns = Dns::port(80).server(address);
    let (instances, _) = dns.look_up("web.test").await.unwrap();
    assert_eq!(instances.len(), 1);
}
