//! How a message is put together, and its attributes are read.

use super::HEADER;

/// One request under construction: `struct nlmsghdr`, the family's own header, attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message(pub(super) Vec<u8>);

impl Message {
    /// A message of the type `kind` with `flags` (`NLM_F_*`) and the family's `header`.
    pub fn new(kind: u16, flags: i32, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
        bytes.extend_from_slice(header);
        let mut message = Message(bytes);
        message.pad();
        message
    }

    /// Has room for so many bytes more without moving.
    #[must_use]
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.0.reserve(bytes);
        self
    }

    /// Appends an attribute.
    #[inline]
    pub fn put(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, value);
        self
    }

    /// Appends an attribute that holds a text with its final NUL.
    pub fn text(self, kind: u16, text: &str) -> Self {
        self.put(kind, &[text.as_bytes(), &[0]].concat())
    }

    /// Appends an attribute that holds the attributes which `fill` appends.
    #[inline]
    pub fn nest(mut self, kind: u16, fill: impl FnOnce(Message) -> Message) -> Self {
        let start = self.0.len();
        self.push(kind | libc::NLA_F_NESTED as u16, &[]);
        let mut filled = fill(self);
        let length = (filled.0.len() - start) as u16;
        filled.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled
    }

    /// Appends bytes that are no attribute (the peer's `ifinfomsg` inside a veth description).
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Has the kernel tell us what it changes by it (NLM_F_ECHO).
    #[must_use]
    pub fn echoed(mut self) -> Self {
        let flags = self.flags() | libc::NLM_F_ECHO as u16;
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    /// What follows `struct nlmsghdr`.
    pub fn body(&self) -> &[u8] {
        &self.0[HEADER..]
    }

    #[inline]
    fn push(&mut self, kind: u16, value: &[u8]) {
        let [a, b] = ((4 + value.len()) as u16).to_ne_bytes();
        let [c, d] = kind.to_ne_bytes();
        self.0.extend_from_slice(&[a, b, c, d]);
        self.0.extend_from_slice(value);
        if !value.len().is_multiple_of(4) {
            self.pad();
        }
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(super) fn flags(&self) -> u16 {
        u16_at(&self.0, 6)
    }

    /// The finished bytes, with length, sequence number and further flags filled in.
    pub(super) fn finish(mut self, sequence: u32, flags: i32) -> Vec<u8> {
        let length = self.0.len() as u32;
        let flags = self.flags() | flags as u16 | libc::NLM_F_REQUEST as u16;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// The attributes in `bytes`: type without its flag bits, and value.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest.get(..4)?, 0));
        let value = rest.get(4..length)?;
        let kind = u16_at(rest, 2) & !(libc::NLA_F_NESTED as u16 | 0x4000);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of the type `kind` in `bytes`.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, v)| v)
}

/// The number in an attribute in host byte order.
pub fn u32_of(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

/// The text in an attribute, without its final NUL.
pub fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
