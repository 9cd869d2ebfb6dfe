//! The value of the cookie: what it holds, and how it is sealed.
//!
//! ```text
//! plain  = expires_minute (4) | incarnation (8) | endpoint id (1..=200)
//! tag    = HMAC-SHA256(key, 1 | plain), first 16 bytes
//! sealed = plain XOR HMAC-SHA256(key, 2 | tag | block), block by block
//! value  = base64url(tag | sealed)
//! ```
//!
//! The tag is both signature and nonce (the synthetic nonce construction of
//! RFC 5297 with HMAC in both roles): equal contents give equal values, and
//! nothing but the length of the name shows without the key.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::known::{Key, Known};
use super::near;
use crate::endpoint::EndpointId;

const TAG: usize = 16;
const FIXED: usize = 12;
const MAX_ID: usize = 200;
const MAX_FORMER: usize = 3;
const BLOCK: usize = 32;
/// Opened tokens that are remembered; each takes about 200 bytes.
const OPENED: usize = 4096;

/// A binding read from a valid token, or remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub(crate) id: EndpointId,
    pub(crate) incarnation: u64,
    /// Minutes since 1970.
    pub(crate) expires_minute: u64,
    /// Signed with a key that is on its way out.
    pub(crate) former_key: bool,
}

impl Binding {
    /// The endpoint's name.
    #[must_use]
    pub fn endpoint_id(&self) -> &EndpointId {
        &self.id
    }

    /// Which life of that name.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }
}

/// The signing key first, then former ones.
#[derive(Clone)]
pub(crate) struct KeyRing {
    keys: Vec<Hmac<Sha256>>,
    /// Valid tokens of these very keys.
    opened: Arc<Known<Binding>>,
}

impl KeyRing {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self {
            keys: vec![keyed(key)],
            opened: Arc::new(Known::new(OPENED)),
        }
    }

    pub(crate) fn add_former(&mut self, key: &[u8]) {
        if self.keys.len() > MAX_FORMER {
            self.keys.remove(1);
        }
        self.keys.push(keyed(key));
        self.opened = Arc::new(Known::new(OPENED));
    }

    /// `None` if the name is empty or longer than a cookie may carry.
    pub(crate) fn seal(&self, id: &str, incarnation: u64, minute: u64) -> Option<String> {
        if id.is_empty() || id.len() > MAX_ID {
            return None;
        }
        let key = self.keys.first()?;
        let minute = u32::try_from(minute).unwrap_or(u32::MAX);
        let mut plain = Vec::with_capacity(FIXED + id.len());
        plain.extend_from_slice(&minute.to_be_bytes());
        plain.extend_from_slice(&incarnation.to_be_bytes());
        plain.extend_from_slice(id.as_bytes());
        let tag = tag(key, &plain);
        mask(key, &tag, &mut plain);
        Some(URL_SAFE_NO_PAD.encode([&tag[..], &plain].concat()))
    }

    /// What `read` makes of the binding in `value`, if this thread opened it before.
    #[inline]
    pub(crate) fn read_near<R>(
        &self,
        value: &[u8],
        read: impl FnOnce(&Binding) -> Option<R>,
    ) -> Option<R> {
        near::read(&self.opened, self.opened.key(value)?, read)
    }

    /// The binding in `value`, if any key of the ring signed it.
    #[inline]
    pub(crate) fn open(&self, value: &[u8]) -> Option<Binding> {
        match self.opened.key(value) {
            Some(key) => near::get(&self.opened, key).or_else(|| self.open_far(value, key)),
            None => self.open_anew(value),
        }
    }

    /// The same for a token that is new to this thread.
    #[cold]
    #[inline(never)]
    fn open_far(&self, value: &[u8], key: Key<'_>) -> Option<Binding> {
        let binding = match self.opened.get(key) {
            Some(binding) => binding,
            None => {
                let binding = self.open_anew(value)?;
                self.opened.put(key, binding.clone());
                binding
            }
        };
        near::put(&self.opened, key, binding.clone());
        Some(binding)
    }

    fn open_anew(&self, value: &[u8]) -> Option<Binding> {
        let mut bytes = [0; TAG + FIXED + MAX_ID];
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()?;
        let (tag, sealed) = bytes[..length].split_at_checked(TAG)?;
        self.keys.iter().enumerate().find_map(|(index, key)| {
            let token = open_with(key, tag.try_into().ok()?, sealed)?;
            Some(Binding {
                former_key: index > 0,
                ..token
            })
        })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.keys.len())
    }
}

fn open_with(key: &Hmac<Sha256>, tag: [u8; TAG], sealed: &[u8]) -> Option<Binding> {
    let mut buffer = [0; FIXED + MAX_ID];
    let plain = buffer.get_mut(..sealed.len())?;
    plain.copy_from_slice(sealed);
    mask(key, &tag, plain);
    let mut mac = key.clone();
    mac.update(&[1]);
    mac.update(plain);
    // Compares in constant time.
    mac.verify_truncated_left(&tag).ok()?;
    let (minute, rest) = plain.split_first_chunk::<4>()?;
    let (incarnation, id) = rest.split_first_chunk::<8>()?;
    Some(Binding {
        id: std::str::from_utf8(id).ok()?.into(),
        incarnation: u64::from_be_bytes(*incarnation),
        expires_minute: u64::from(u32::from_be_bytes(*minute)),
        former_key: false,
    })
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("invariant: HMAC takes keys of any length")
}

fn tag(key: &Hmac<Sha256>, plain: &[u8]) -> [u8; TAG] {
    let mut mac = key.clone();
    mac.update(&[1]);
    mac.update(plain);
    let full: [u8; BLOCK] = mac.finalize().into_bytes().into();
    let mut tag = [0; TAG];
    tag.copy_from_slice(&full[..TAG]);
    tag
}

/// Turns plain into sealed and back.
fn mask(key: &Hmac<Sha256>, tag: &[u8; TAG], bytes: &mut [u8]) {
    for (block, chunk) in (0_u8..).zip(bytes.chunks_mut(BLOCK)) {
        let mut mac = key.clone();
        mac.update(&[2]);
        mac.update(tag);
        mac.update(&[block]);
        let pad: [u8; BLOCK] = mac.finalize().into_bytes().into();
        for (byte, pad) in chunk.iter_mut().zip(pad) {
            *byte ^= pad;
        }
    }
}
