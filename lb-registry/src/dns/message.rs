//! DNS messages (RFC 1035), as much as questions for addresses and services (RFC 2782) need.
//!
//! Nothing here panics or loops on whatever a server sends: every read is checked, and a name may only point backwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
/// A query that wants recursion.
const RECURSION: u16 = 0x0100;
const ANSWER: u16 = 0x8000;
const TRUNCATED: u16 = 0x0200;
const CODE: u16 = 0x000f;
const NO_SUCH_NAME: u16 = 3;
const MOST_NAME: usize = 255;
const MOST_LABEL: usize = 63;
/// The option that says how large an answer may be (RFC 6891).
const OPT: u16 = 41;
/// Its bytes at the end of a question.
const OPTION: usize = 11;

/// The largest answer that may come by UDP.
pub(super) const MOST_UDP: u16 = 1_232;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    V4 = 1,
    V6 = 28,
    Service = 33,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    Service(Service),
    /// Something else, such as an alias, which the server has followed already.
    Other,
}

/// Where a service is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// In lower case, without the last dot.
    pub(super) name: String,
    pub(super) ttl_seconds: u32,
    pub(super) data: Data,
}

/// The records of an answer, by their place in it. Those about who is in charge of the name say nothing
/// that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// What was asked for, and the aliases on the way there.
    pub(super) answers: Vec<Record>,
    /// What comes along: addresses of the names in the answers, but also those of the name servers.
    pub(super) along: Vec<Record>,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Records, possibly none.
    Records(Records),
    /// There is no such name.
    NoSuchName,
    /// There is more than fits: ask again by TCP.
    Truncated,
}

/// The name cannot be asked for, or the answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("that is no name")]
    Name,
    #[error("the message ends too early")]
    Short,
    #[error("that is no answer to this question")]
    NotOurs,
    #[error("the server says no (code {0})")]
    Refused(u16),
}

/// A question, as it is sent.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Result<Vec<u8>, Malformed> {
    let mut message = Vec::with_capacity(64);
    for word in [id, RECURSION, 1, 0, 0, 1] {
        message.extend(word.to_be_bytes());
    }
    let before = message.len();
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok();
        let length = length.filter(|length| (1..=MOST_LABEL).contains(&usize::from(*length)));
        message.push(length.ok_or(Malformed::Name)?);
        message.extend(label.as_bytes());
    }
    message.push(0);
    if message.len() - before > MOST_NAME {
        return Err(Malformed::Name);
    }
    message.extend((kind as u16).to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    // The root name, OPT, our size, no flags, no options.
    message.push(0);
    for word in [OPT, MOST_UDP, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    Ok(message)
}

/// The answer to this question, of which it repeats the number and the name (RFC 5452, 9.1).
pub(super) fn reply(asked: &[u8], message: &[u8]) -> Result<Reply, Malformed> {
    let mut reader = Reader { message, at: 0 };
    if asked.get(..2) != Some(&reader.bytes::<2>()?[..]) {
        return Err(Malformed::NotOurs);
    }
    let flags = reader.word()?;
    let [questions, answers, authorities, others] = [
        reader.word()?,
        reader.word()?,
        reader.word()?,
        reader.word()?,
    ];
    if flags & ANSWER == 0 || reader.at != HEADER {
        return Err(Malformed::NotOurs);
    }
    let code = flags & CODE;
    if !matches!(code, 0 | NO_SUCH_NAME) {
        return Err(Malformed::Refused(code));
    }
    let end = asked.len().saturating_sub(OPTION);
    let repeated = message.get(HEADER..end).zip(asked.get(HEADER..end));
    if !repeated.is_some_and(|(theirs, ours)| theirs.eq_ignore_ascii_case(ours)) {
        return Err(Malformed::NotOurs);
    }
    if code == NO_SUCH_NAME {
        return Ok(Reply::NoSuchName);
    }
    if flags & TRUNCATED != 0 {
        return Ok(Reply::Truncated);
    }
    for _ in 0..questions {
        reader.name()?;
        reader.take(4)?;
    }
    let answers = reader.records(answers)?;
    reader.records(authorities)?;
    let along = reader.records(others)?;
    Ok(Reply::Records(Records { answers, along }))
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed::Short)?;
        let taken = self.message.get(self.at..end).ok_or(Malformed::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Short)
    }

    fn word(&mut self) -> Result<u16, Malformed> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn records(&mut self, count: u16) -> Result<Vec<Record>, Malformed> {
        (0..count).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> Result<Record, Malformed> {
        let name = self.name()?;
        let (kind, class) = (self.word()?, self.word()?);
        let ttl_seconds = u32::from_be_bytes(self.bytes()?);
        let length = usize::from(self.word()?);
        let end = self.at + length;
        let data = match (class, kind, length) {
            (CLASS_IN, kind, 4) if kind == Kind::V4 as u16 => {
                Data::Address(IpAddr::V4(Ipv4Addr::from(self.bytes::<4>()?)))
            }
            (CLASS_IN, kind, 16) if kind == Kind::V6 as u16 => {
                Data::Address(IpAddr::V6(Ipv6Addr::from(self.bytes::<16>()?)))
            }
            (CLASS_IN, kind, _) if kind == Kind::Service as u16 => Data::Service(Service {
                priority: self.word()?,
                weight: self.word()?,
                port: self.word()?,
                target: self.name()?,
            }),
            _ => {
                self.take(length)?;
                Data::Other
            }
        };
        match self.at == end {
            true => Ok(Record {
                name,
                ttl_seconds,
                data,
            }),
            false => Err(Malformed::Short),
        }
    }

    /// A name, which may end in one that was there before.
    fn name(&mut self) -> Result<String, Malformed> {
        let mut name = String::new();
        let (mut at, mut after) = (self.at, None);
        loop {
            let length = *self.message.get(at).ok_or(Malformed::Short)?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.message.get(at + 1..at + 1 + usize::from(length));
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(&String::from_utf8_lossy(label.ok_or(Malformed::Short)?));
                    at += 1 + usize::from(length);
                }
                192.. => {
                    let low = *self.message.get(at + 1).ok_or(Malformed::Short)?;
                    let to = usize::from(length & 0x3f) << 8 | usize::from(low);
                    after.get_or_insert(at + 2);
                    // Only backwards, so it comes to an end.
                    if to >= at {
                        return Err(Malformed::Name);
                    }
                    at = to;
                }
                _ => return Err(Malformed::Name),
            }
            if name.len() > MOST_NAME {
                return Err(Malformed::Name);
            }
        }
        self.at = after.unwrap_or(at + 1);
        name.make_ascii_lowercase();
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(id: u16) -> Vec<u8> {
        question(id, "_http._tcp.web", Kind::Service).unwrap()
    }

    /// An answer with two services, whose names are compressed, and one address.
    fn example() -> Vec<u8> {
        let mut message = asked(7);
        message.truncate(message.len() - OPTION);
        message[2..4].copy_from_slice(&(ANSWER | RECURSION).to_be_bytes());
        message[6..12].copy_from_slice(&[0, 2, 0, 0, 0, 1]);
        for (port, target) in [(80u16, b"\x01a\xc0\x17"), (81, b"\x01B\xc0\x17")] {
            message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 9, 0, 10, 0, 1, 0, 5]);
            message.extend(port.to_be_bytes());
            message.extend(target);
        }
        message.extend(b"\x01a\xc0\x17\x00\x01\x00\x01\x00\x00\x00\x09\x00\x04\x0a\x00\x00\x01");
        message
    }

    #[test]
    fn services_and_their_addresses_are_read() {
        let Ok(Reply::Records(Records { answers, along })) = reply(&asked(7), &example()) else {
            panic!("an answer");
        };
        let service = |port, target: &str| {
            Data::Service(Service {
                priority: 1,
                weight: 5,
                port,
                target: target.into(),
            })
        };
        assert_eq!(answers[0].data, service(80, "a.web"));
        assert_eq!(answers[1].data, service(81, "b.web"));
        assert_eq!(along[0].name, "a.web");
        assert_eq!(along[0].data, Data::Address([10, 0, 0, 1].into()));
        assert_eq!(answers[0].ttl_seconds, 9);
    }

    #[test]
    fn an_answer_to_another_question_is_not_ours() {
        let not_ours = Err(Malformed::NotOurs);
        assert_eq!(reply(&asked(8), &example()), not_ours);
        assert_eq!(reply(&asked(7), &asked(7)), not_ours);
        for other in ["_http._tcp.wob", "_http._tcp.web.x"] {
            let other = question(7, other, Kind::Service).unwrap();
            assert_eq!(reply(&other, &example()), not_ours);
        }
        let other = question(7, "_http._tcp.web", Kind::V4).unwrap();
        assert_eq!(reply(&other, &example()), not_ours);
    }

    #[test]
    fn a_name_that_points_at_itself_is_refused() {
        let mut message = example();
        let first = asked(7).len() - OPTION;
        message[first + 1] = u8::try_from(first).unwrap();
        assert_eq!(reply(&asked(7), &message), Err(Malformed::Name));
    }

    #[test]
    fn names_that_cannot_be_are_not_asked_for() {
        for name in ["", "a..b", &"x".repeat(64), &"ab.".repeat(100)] {
            assert_eq!(question(1, name, Kind::V4), Err(Malformed::Name), "{name}");
        }
    }

    proptest! {
        /// Whatever a server sends, it is an answer or an error.
        #[test]
        fn nothing_that_comes_in_is_a_surprise(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = reply(&asked(7), &noise);
        }

        /// The same with what is nearly right.
        #[test]
        fn a_damaged_answer_is_no_surprise_either(at in 0usize..90, byte in any::<u8>(), cut in 0usize..90) {
            let mut message = example();
            let length = message.len();
            message[at % length] = byte;
            message.truncate(cut.max(1));
            let _ = reply(&asked(7), &message);
        }
    }
}
