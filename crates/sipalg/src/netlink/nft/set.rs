//! Sets and maps with their elements.

use super::*;

/// What the keys of a set are, or the values of a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    /// `ipv4_addr`: four bytes.
    Address,
    /// `ipv4_addr . inet_service`: [`address_port`].
    AddressPort,
    /// `inet_proto . ipv4_addr . inet_service`: [`protocol_address_port`].
    ProtocolAddressPort,
    /// The same of a pair of ports, which the even one stands for ([`even`]).
    AddressPortPair,
    /// `inet_service`: two bytes, big-endian.
    Port,
    /// The same of a pair of ports.
    PortPair,
    /// `ifname`: [`interface`].
    Interface,
}

/// A named set or map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// A number by which rules of the same transaction know it.
    pub id: u32,
    /// What its keys are.
    pub key: KeyType,
    /// What its values are, in a map.
    pub value: Option<KeyType>,
    /// What else there is to it.
    pub kind: SetKind,
}

/// What a set holds besides its keys, and who fills it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetKind {
    /// Elements stay until they are deleted.
    Plain,
    /// Elements expire.
    Expiring,
    /// Rules put elements in, which expire, each with a packet and byte counter: [`Rule::note`].
    Counting,
    /// Ranges of addresses: [`add_range`].
    Ranges,
    /// Rules put elements in, which expire: [`Rule::note`].
    Noting,
    /// Rules put elements in, each with a count of connections: [`Rule::each_connections_over`].
    Limiting,
}

/// What of a set cannot be changed while it is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetShape {
    flags: u32,
    /// Type and length in bytes.
    key: (u32, u32),
    value: Option<(u32, u32)>,
    counts: bool,
}

/// An element of a set, as the kernel holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Element {
    /// Its key.
    pub key: Vec<u8>,
    /// What the key leads to, in a map.
    pub value: Option<Vec<u8>>,
    /// Whether it is the first address after a range, in a [`SetKind::Ranges`] set.
    pub ends_range: bool,
    /// Time until it goes by itself.
    pub expires: Duration,
    /// Packets counted on it, in a [`SetKind::Counting`] set.
    pub packets: u64,
    /// Bytes of those, IP headers included.
    pub bytes: u64,
}

impl Element {
    /// A key that begins with an address, as that.
    pub fn address(&self) -> Ipv4Addr {
        *self.address_port().ip()
    }

    /// A key [`KeyType::AddressPort`] as that.
    pub fn address_port(&self) -> SocketAddrV4 {
        address_port_of(&self.key)
    }
}

impl KeyType {
    /// nft's number for it, and its length in bytes.
    const fn shape(self) -> (u32, u32) {
        const ADDRESS_PORT: u32 = TYPE_IPV4_ADDR << TYPE_BITS | TYPE_INET_SERVICE;
        match self {
            KeyType::Address => (TYPE_IPV4_ADDR, 4),
            KeyType::AddressPort | KeyType::AddressPortPair => (ADDRESS_PORT, 8),
            KeyType::ProtocolAddressPort => {
                (TYPE_INET_PROTOCOL << (2 * TYPE_BITS) | ADDRESS_PORT, 12)
            }
            KeyType::Port | KeyType::PortPair => (TYPE_INET_SERVICE, 2),
            KeyType::Interface => (TYPE_IFNAME, libc::IFNAMSIZ as u32),
        }
    }

    /// How many bytes it has.
    pub const fn length(self) -> usize {
        self.shape().1 as usize
    }
}

impl Set {
    /// What of it cannot be changed while it is there.
    pub fn shape(&self) -> SetShape {
        SetShape {
            flags: self.flags(),
            key: self.key.shape(),
            value: self.value.map(KeyType::shape),
            counts: self.kind == SetKind::Counting,
        }
    }

    fn flags(&self) -> u32 {
        let flags = match self.kind {
            SetKind::Plain => 0,
            SetKind::Expiring => NFT_SET_TIMEOUT,
            SetKind::Ranges => NFT_SET_INTERVAL,
            SetKind::Noting | SetKind::Counting => NFT_SET_TIMEOUT | NFT_SET_EVAL,
            SetKind::Limiting => NFT_SET_EVAL,
        };
        match self.value {
            Some(_) => flags | NFT_SET_MAP,
            None => flags,
        }
    }
}

/// Adds a set.
pub fn add_set(table: &str, set: &Set) -> Message {
    let (key_type, key_length) = set.key.shape();
    let flags = set.flags();
    let mut message = message(NFT_MSG_NEWSET, libc::NLM_F_CREATE)
        .text(NFTA_SET_TABLE, table)
        .text(NFTA_SET_NAME, set.name)
        .put(NFTA_SET_ID, &set.id.to_be_bytes())
        .put(NFTA_SET_FLAGS, &flags.to_be_bytes())
        .put(NFTA_SET_KEY_TYPE, &key_type.to_be_bytes())
        .put(NFTA_SET_KEY_LEN, &key_length.to_be_bytes());
    if set.key == KeyType::Interface {
        message = message.put(NFTA_SET_USERDATA, &HOST_BYTE_ORDER);
    }
    if let Some(value) = set.value {
        let (value_type, value_length) = value.shape();
        message = message
            .put(NFTA_SET_DATA_TYPE, &value_type.to_be_bytes())
            .put(NFTA_SET_DATA_LEN, &value_length.to_be_bytes());
    }
    if flags & NFT_SET_EVAL != 0 {
        message = message.nest(NFTA_SET_DESC, |m| {
            m.put(NFTA_SET_DESC_SIZE, &MOST_ELEMENTS.to_be_bytes())
        });
    }
    match set.kind {
        SetKind::Counting => message.nest(NFTA_SET_EXPR, |m| {
            m.text(NFTA_EXPR_NAME, "counter")
                .nest(NFTA_EXPR_DATA, |m| m)
        }),
        _ => message,
    }
}

/// Adds `key` (in a map: with `value`) that does not expire.
pub fn add_key(table: &str, set: &Set, key: &[u8], value: Option<&[u8]>) -> Message {
    element(NFT_MSG_NEWSETELEM, table, set, key, |m| with(m, value))
}

/// Adds `key` (in a map: with `value`) for `lifetime`; one that is there lives that long from now
/// (Linux 6.12; before, it keeps the life that it has).
pub fn add_element(
    table: &str,
    set: &Set,
    key: &[u8],
    value: Option<&[u8]>,
    lifetime: Duration,
) -> Message {
    element(NFT_MSG_NEWSETELEM, table, set, key, |m| {
        living(with(m, value), lifetime)
    })
}

/// What becomes of one of many elements.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// In a map, what the key leads to.
    pub value: Option<&'a [u8]>,
    /// How long it lives from now; for ever without. Of no matter to one that is taken out.
    pub lifetime: Option<Duration>,
}

/// Adds many at once, as [`add_element`] or [`add_key`] would.
pub fn add_elements<'a>(
    table: &str,
    set: &Set,
    elements: impl Iterator<Item = Change<'a>>,
) -> Vec<Message> {
    change(NFT_MSG_NEWSETELEM, table, set, elements, |m, element| {
        let m = with(keyed(m, element.key), element.value);
        match element.lifetime {
            Some(lifetime) => living(m, lifetime),
            None => m,
        }
    })
}

/// Takes many out at once, as [`delete_element`] would.
pub fn delete_elements<'a>(
    table: &str,
    set: &Set,
    elements: impl Iterator<Item = Change<'a>>,
) -> Vec<Message> {
    change(NFT_MSG_DELSETELEM, table, set, elements, |m, element| {
        keyed(m, element.key)
    })
}

/// Takes many out at once, as [`destroy_element`] would.
pub fn destroy_elements<'a>(
    table: &str,
    set: &Set,
    elements: impl Iterator<Item = Change<'a>>,
) -> Vec<Message> {
    change(
        NFT_MSG_DESTROYSETELEM,
        table,
        set,
        elements,
        |m, element| keyed(m, element.key),
    )
}

/// Adds the addresses from `first` to `last` to a set of ranges, which must not overlap.
pub fn add_range(table: &str, set: &Set, first: Ipv4Addr, last: Ipv4Addr) -> Message {
    let flag = NFT_SET_ELEM_INTERVAL_END.to_be_bytes();
    message(NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE)
        .text(NFTA_SET_ELEM_LIST_TABLE, table)
        .text(NFTA_SET_ELEM_LIST_SET, set.name)
        .put(NFTA_SET_ELEM_LIST_SET_ID, &set.id.to_be_bytes())
        .nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
            let m = m.nest(NFTA_LIST_ELEM, |m| keyed(m, &first.octets()));
            match u32::from(last).checked_add(1) {
                Some(end) => m.nest(NFTA_LIST_ELEM, |m| {
                    keyed(m, &end.to_be_bytes()).put(NFTA_SET_ELEM_FLAGS, &flag)
                }),
                None => m,
            }
        })
}

/// Takes `key` out of a set; one that is not in it fails the whole transaction.
pub fn delete_element(table: &str, set: &Set, key: &[u8]) -> Message {
    element(NFT_MSG_DELSETELEM, table, set, key, |m| m)
}

/// Takes `key` out of a set; one that is not in it is no error (Linux 6.3).
pub fn destroy_element(table: &str, set: &Set, key: &[u8]) -> Message {
    element(NFT_MSG_DESTROYSETELEM, table, set, key, |m| m)
}

/// Deletes a set that no rule looks at.
pub fn delete_set(table: &str, name: &str) -> Message {
    message(NFT_MSG_DELSET, 0)
        .text(NFTA_SET_TABLE, table)
        .text(NFTA_SET_NAME, name)
}

/// Takes everything out of a set.
pub fn flush_set(table: &str, set: &Set) -> Message {
    message(NFT_MSG_DELSETELEM, 0)
        .text(NFTA_SET_ELEM_LIST_TABLE, table)
        .text(NFTA_SET_ELEM_LIST_SET, set.name)
}

/// The key or value `ipv4_addr . inet_service`: each part padded to 32 bits.
pub fn address_port(pair: SocketAddrV4) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&pair.ip().octets());
    key[4..6].copy_from_slice(&pair.port().to_be_bytes());
    key
}

/// The address and, if there is one, port that a key or value [`address_port`] begins with.
pub fn address_port_of(value: &[u8]) -> SocketAddrV4 {
    let octets = value.get(..4).and_then(|octets| octets.try_into().ok());
    let port = value.get(4..6).and_then(|port| port.try_into().ok());
    let octets: [u8; 4] = octets.unwrap_or_default();
    SocketAddrV4::new(octets.into(), port.map_or(0, u16::from_be_bytes))
}

/// The end that stands for the pair of ports that this one belongs to, as RTP and RTCP are one.
pub fn even(end: SocketAddrV4) -> SocketAddrV4 {
    SocketAddrV4::new(*end.ip(), end.port() & PAIR)
}

/// The key `inet_proto . ipv4_addr . inet_service`.
pub fn protocol_address_port(protocol: i32, pair: SocketAddrV4) -> [u8; 12] {
    let mut key = [0; 12];
    key[0] = protocol as u8;
    key[4..].copy_from_slice(&address_port(pair));
    key
}

/// The key `ifname`.
pub fn interface(name: &str) -> [u8; libc::IFNAMSIZ] {
    let mut key = [0; libc::IFNAMSIZ];
    for (to, from) in key.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from;
    }
    key
}

impl Nft {
    /// The sets of a table: name and shape.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sets(&mut self, table: &str) -> Result<Vec<(String, SetShape)>, Error> {
        let question = message(NFT_MSG_GETSET, 0).text(NFTA_SET_TABLE, table);
        self.list(&question, |told, found| found.extend(set_of(told)))
    }

    /// The live elements of a set.
    ///
    /// # Errors
    /// `ENOENT` if there is no such set.
    pub fn elements(&mut self, table: &str, set: &Set) -> Result<Vec<Element>, Error> {
        let question = message(NFT_MSG_GETSETELEM, 0)
            .text(NFTA_SET_ELEM_LIST_TABLE, table)
            .text(NFTA_SET_ELEM_LIST_SET, set.name);
        self.list(&question, |told, found| found.extend(elements_in(told)))
    }

    /// Which of these keys are in a set, in order; takes no longer in a large one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn have<'a>(
        &mut self,
        table: &str,
        set: &Set,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<bool>, Error> {
        let ask = |key| element(NFT_MSG_GETSETELEM, table, set, key, |m| m);
        self.0.exist(keys.map(ask).collect())
    }
}

fn element(
    operation: u16,
    table: &str,
    set: &Set,
    key: &[u8],
    more: impl FnOnce(Message) -> Message,
) -> Message {
    about(operation, table, set).nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
        m.nest(NFTA_LIST_ELEM, |m| more(keyed(m, key)))
    })
}

/// As many elements in one message as it may have.
fn change<'a>(
    operation: u16,
    table: &str,
    set: &Set,
    elements: impl Iterator<Item = Change<'a>>,
    tell: impl Fn(Message, &Change) -> Message,
) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut elements = elements.peekable();
    while elements.peek().is_some() {
        let room = elements.size_hint().1.unwrap_or(0).min(ELEMENTS_A_MESSAGE) * ELEMENT_SIZE;
        let part = elements.by_ref().take(ELEMENTS_A_MESSAGE);
        let message = about(operation, table, set).with_room(room);
        let message = message.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
            part.fold(m, |m, element| {
                m.nest(NFTA_LIST_ELEM, |m| tell(m, &element))
            })
        });
        messages.push(message);
    }
    messages
}

/// The beginning of a message about elements.
fn about(operation: u16, table: &str, set: &Set) -> Message {
    let flags = if operation == NFT_MSG_NEWSETELEM {
        libc::NLM_F_CREATE
    } else {
        0
    };
    message(operation, flags)
        .text(NFTA_SET_ELEM_LIST_TABLE, table)
        .text(NFTA_SET_ELEM_LIST_SET, set.name)
        .put(NFTA_SET_ELEM_LIST_SET_ID, &set.id.to_be_bytes())
}

fn keyed(message: Message, key: &[u8]) -> Message {
    message.nest(NFTA_SET_ELEM_KEY, |m| m.put(NFTA_DATA_VALUE, key))
}

fn with(message: Message, value: Option<&[u8]>) -> Message {
    match value {
        Some(value) => message.nest(NFTA_SET_ELEM_DATA, |m| m.put(NFTA_DATA_VALUE, value)),
        None => message,
    }
}

fn living(message: Message, lifetime: Duration) -> Message {
    // Zero would be for ever.
    let lifetime = u64::try_from(lifetime.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    // Only with an expiration does the lifetime of an element that is there begin anew.
    message
        .put(NFTA_SET_ELEM_TIMEOUT, &lifetime.to_be_bytes())
        .put(NFTA_SET_ELEM_EXPIRATION, &lifetime.to_be_bytes())
}

/// The elements that a message of [`add_key`], [`add_element`] or [`add_range`] adds.
pub fn added(message: &Message) -> Vec<Element> {
    elements_in(message.body().get(NFGENMSG..).unwrap_or_default())
}

/// Whether a message of the type `kind` tells of elements that are taken out.
pub(super) fn takes_out(kind: u16) -> bool {
    let operations = [NFT_MSG_DELSETELEM, NFT_MSG_DESTROYSETELEM];
    let of_nftables = kind >> 8 == libc::NFNL_SUBSYS_NFTABLES as u16;
    of_nftables && operations.contains(&(kind & 0xff))
}

/// The set that a message about elements names.
pub(super) fn set_in(told: &[u8]) -> String {
    attribute(told, NFTA_SET_ELEM_LIST_SET)
        .map(text_of)
        .unwrap_or_default()
}

pub(super) fn elements_in(told: &[u8]) -> Vec<Element> {
    let list = attribute(told, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    let elements = attributes(list).filter_map(|(_, element)| element_of(element));
    elements.collect()
}

/// A set from a dump.
fn set_of(told: &[u8]) -> Option<(String, SetShape)> {
    let number = |kind| {
        let value = attribute(told, kind)?.try_into().ok()?;
        Some(u32::from_be_bytes(value))
    };
    // None are not told.
    let flags = number(NFTA_SET_FLAGS).unwrap_or(0);
    let is_map = flags & NFT_SET_MAP != 0;
    let value = (number(NFTA_SET_DATA_TYPE), number(NFTA_SET_DATA_LEN));
    let shape = SetShape {
        flags: flags & (NFT_SET_INTERVAL | NFT_SET_MAP | NFT_SET_TIMEOUT | NFT_SET_EVAL),
        key: (number(NFTA_SET_KEY_TYPE)?, number(NFTA_SET_KEY_LEN)?),
        value: is_map.then(|| (value.0.unwrap_or(0), value.1.unwrap_or(0))),
        counts: attribute(told, NFTA_SET_EXPR).is_some(),
    };
    Some((attribute(told, NFTA_SET_NAME).map(text_of)?, shape))
}

/// An element from a dump.
fn element_of(told: &[u8]) -> Option<Element> {
    let key = attribute(attribute(told, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?;
    let expression = attribute(told, NFTA_SET_ELEM_EXPR).unwrap_or_default();
    let (packets, bytes) = counted(attribute(expression, NFTA_EXPR_DATA).unwrap_or_default());
    let data = attribute(told, NFTA_SET_ELEM_DATA);
    let flags = attribute(told, NFTA_SET_ELEM_FLAGS).and_then(|v| v.try_into().ok());
    Some(Element {
        key: key.to_vec(),
        value: data
            .and_then(|d| attribute(d, NFTA_DATA_VALUE))
            .map(<[u8]>::to_vec),
        ends_range: flags.map_or(0, u32::from_be_bytes) & NFT_SET_ELEM_INTERVAL_END != 0,
        expires: Duration::from_millis(number(told, NFTA_SET_ELEM_EXPIRATION)),
        packets,
        bytes,
    })
}

const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_GETSET: u16 = 10;
const NFT_MSG_DELSET: u16 = 11;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFT_MSG_DESTROYSETELEM: u16 = 30;

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_DESC_SIZE: u16 = 1;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_EXPR: u16 = 17;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_SET_ELEM_EXPR: u16 = 7;

const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_TIMEOUT: u32 = 0x10;
const NFT_SET_EVAL: u32 = 0x20;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;

/// What the even port of a pair has in common with the odd one.
pub(super) const PAIR: u16 = 0xfffe;

/// As much as an element takes in a message, at most.
const ELEMENT_SIZE: usize = 72;

/// One list of elements may have 64 KiB.
const ELEMENTS_A_MESSAGE: usize = 500;

/// Bound on what rules put into a set by themselves: well above the connections that a gateway
/// tracks.
const MOST_ELEMENTS: u32 = 1 << 20;

/// nft's own numbers for data types; the kernel only keeps them, nft needs them to print.
const TYPE_BITS: u32 = 6;
const TYPE_IPV4_ADDR: u32 = 7;
const TYPE_INET_PROTOCOL: u32 = 12;
const TYPE_INET_SERVICE: u32 = 13;
const TYPE_IFNAME: u32 = 41;

/// nft's own note on a set (type, length, value): the keys are in host byte order. Without it nft
/// prints names as nothing.
const HOST_BYTE_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_interface_name_keeps_its_final_nul() {
        assert_eq!(&interface("gin")[..4], b"gin\0");
        assert_eq!(interface("a-name-too-long-to-be").last(), Some(&0));
    }

    #[test]
    fn a_pair_of_address_and_port_is_padded_to_words() {
        let pair = SocketAddrV4::new(Ipv4Addr::new(1, 2, 3, 4), 0x1f40);
        assert_eq!(address_port(pair), [1, 2, 3, 4, 0x1f, 0x40, 0, 0]);
    }
}
