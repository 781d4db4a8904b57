//! Capture files: pcap and pcapng are read, pcapng is written.

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};
use std::io::{self, Read, Write};

/// How much of the file is held at first, bytes.
const BUFFER: usize = 1024 * 1024;

/// A block that is longer is taken for nonsense, bytes.
const LONGEST_BLOCK: usize = 64 * 1024 * 1024;

/// What a capture holds, in order.
#[derive(Debug)]
pub enum Item {
    /// One more interface was captured on, with this link type
    /// (draft-ietf-opsawg-pcaplinktype). They count from 0.
    Interface(u16),
    /// A packet.
    Packet(Packet),
}

/// A packet as it was captured.
#[derive(Debug)]
pub struct Packet {
    /// Which interface of the capture.
    pub interface: u32,
    /// Nanoseconds since 1970, or `None` if the file does not say.
    pub time: Option<u64>,
    /// What was captured, from the link header.
    pub data: Vec<u8>,
    /// How many bytes it had on the wire.
    pub length: usize,
}

/// Why a capture cannot be read any further.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// It is no capture.
    #[error("this is neither a pcap nor a pcapng file")]
    NotACapture,
    /// It ends in the middle of a packet.
    #[error("the file ends in the middle of a packet")]
    CutOff,
    /// A block of it makes no sense.
    #[error("what follows is damaged")]
    Nonsense,
    /// A packet names an interface that the file did not describe.
    #[error("a packet names interface {0}, which is not described")]
    NoInterface(u32),
    /// The file could not be read.
    #[error("the file cannot be read any further")]
    Unreadable,
}

/// Reads a capture.
pub struct Reader {
    blocks: Box<dyn PcapReaderIterator + Send>,
    interfaces: Vec<Clock>,
    /// The interfaces of earlier sections of a pcapng file.
    before: usize,
    capacity: usize,
}

/// How an interface's timestamps count.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Units in a second.
    units: u128,
    /// Seconds to add.
    offset: i128,
}

impl Reader {
    /// Looks at the beginning of a file.
    ///
    /// # Errors
    /// It is no capture.
    pub fn open(file: impl Read + Send + 'static) -> Result<Self, Damage> {
        let blocks = create_reader(BUFFER, file).map_err(|_| Damage::NotACapture)?;
        Ok(Reader {
            blocks,
            interfaces: Vec::new(),
            before: 0,
            capacity: BUFFER,
        })
    }

    /// The next interface or packet; `None` at the end.
    ///
    /// # Errors
    /// The file is damaged; nothing more can be read.
    pub fn read(&mut self) -> Result<Option<Item>, Damage> {
        loop {
            let (length, item) = match self.blocks.next() {
                Ok((length, block)) => {
                    let item = take(&block, &mut self.interfaces, &mut self.before);
                    (length, item)
                }
                Err(PcapError::Eof) => return Ok(None),
                Err(PcapError::UnexpectedEof) => return Err(Damage::CutOff),
                Err(PcapError::Incomplete(_)) => {
                    self.refill()?;
                    continue;
                }
                Err(PcapError::BufferTooSmall) => {
                    self.grow()?;
                    continue;
                }
                Err(_) => return Err(Damage::Nonsense),
            };
            self.blocks.consume(length);
            if let Some(item) = item? {
                return Ok(Some(item));
            }
        }
    }

    fn refill(&mut self) -> Result<(), Damage> {
        let before = self.blocks.data().len();
        self.blocks.refill().map_err(|_| Damage::Unreadable)?;
        if self.blocks.data().len() == before && !self.blocks.reader_exhausted() {
            self.grow()?;
        }
        Ok(())
    }

    fn grow(&mut self) -> Result<(), Damage> {
        self.capacity *= 2;
        if self.capacity > LONGEST_BLOCK || !self.blocks.grow(self.capacity) {
            return Err(Damage::Nonsense);
        }
        self.blocks.refill().map_err(|_| Damage::Unreadable)
    }
}

/// What a block says, if it is one of those that matter.
fn take(
    block: &PcapBlockOwned<'_>,
    interfaces: &mut Vec<Clock>,
    before: &mut usize,
) -> Result<Option<Item>, Damage> {
    let (interface, stamp, data, captured, length) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let nanoseconds = header.is_nanosecond_precision();
            interfaces.push(Clock {
                units: if nanoseconds {
                    1_000_000_000
                } else {
                    1_000_000
                },
                offset: 0,
            });
            return Ok(Some(Item::Interface(link_type(header.network.0))));
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            *before = interfaces.len();
            return Ok(None);
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(described)) => {
            interfaces.push(Clock {
                units: units(described.if_tsresol),
                offset: described.if_tsoffset.into(),
            });
            return Ok(Some(Item::Interface(link_type(described.linktype.0))));
        }
        PcapBlockOwned::Legacy(packet) => {
            let units = interfaces.first().map_or(1_000_000, |clock| clock.units);
            let stamp = u128::from(packet.ts_sec) * units + u128::from(packet.ts_usec);
            let (captured, length) = (packet.caplen, packet.origlen);
            (0, Some(stamp), packet.data, captured, length)
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let stamp = u128::from(packet.ts_high) << 32 | u128::from(packet.ts_low);
            let (captured, length) = (packet.caplen, packet.origlen);
            (packet.if_id, Some(stamp), packet.data, captured, length)
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            (0, None, packet.data, packet.origlen, packet.origlen)
        }
        PcapBlockOwned::NG(_) => return Ok(None),
    };
    let described = before.saturating_add(interface as usize);
    let clock = interfaces.get(described);
    let clock = clock.ok_or(Damage::NoInterface(interface))?;
    let data = data.get(..captured as usize).unwrap_or(data).to_vec();
    Ok(Some(Item::Packet(Packet {
        interface: u32::try_from(described).map_err(|_| Damage::NoInterface(interface))?,
        time: stamp.map(|stamp| clock.nanoseconds(stamp)),
        length: (length as usize).max(data.len()),
        data,
    })))
}

fn link_type(number: i32) -> u16 {
    // The upper half of the field has other meanings (draft-ietf-opsawg-pcap section 4).
    (number & 0xFFFF) as u16
}

/// What `if_tsresol` means: a power of ten, or of two if the highest bit is set.
fn units(resolution: u8) -> u128 {
    let (base, exponent) = match resolution {
        0..128 => (10_u128, u32::from(resolution)),
        128.. => (2, u32::from(resolution & 0x7F)),
    };
    base.checked_pow(exponent).unwrap_or(u128::MAX)
}

impl Clock {
    fn nanoseconds(self, stamp: u128) -> u64 {
        let seconds = stamp / self.units;
        let part = (stamp % self.units).checked_mul(1_000_000_000);
        let part = part.map_or(0, |part| part / self.units);
        let whole = i128::try_from(seconds).unwrap_or(i128::MAX);
        let whole = whole.saturating_add(self.offset).max(0).unsigned_abs();
        let nanoseconds = whole.saturating_mul(1_000_000_000).saturating_add(part);
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }
}

/// Writes a pcapng file (draft-ietf-opsawg-pcapng). The crate that reads them can write them too,
/// but not without a runtime for asynchronous IO.
#[derive(Debug)]
pub struct Writer<W: Write> {
    to: W,
}

impl<W: Write> Writer<W> {
    /// Begins the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(to: W) -> io::Result<Self> {
        let mut writer = Writer { to };
        let mut body = Vec::new();
        body.extend(0x1A2B_3C4D_u32.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        body.extend(u64::MAX.to_le_bytes());
        writer.block(0x0A0D_0D0A, &body)?;
        Ok(writer)
    }

    /// Describes the next interface.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn interface(&mut self, link_type: u16) -> io::Result<()> {
        let mut body = Vec::new();
        body.extend(link_type.to_le_bytes());
        body.extend([0; 2]);
        // No limit of a packet's length.
        body.extend(0_u32.to_le_bytes());
        // if_tsresol: nanoseconds. Then the end of options.
        body.extend([9, 0, 1, 0, 9, 0, 0, 0]);
        body.extend([0; 4]);
        self.block(1, &body)
    }

    /// Adds a packet that had `length` bytes on the wire.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn packet(
        &mut self,
        interface: u32,
        time: u64,
        data: &[u8],
        length: usize,
    ) -> io::Result<()> {
        let mut body = Vec::with_capacity(data.len() + 24);
        body.extend(interface.to_le_bytes());
        body.extend(((time >> 32) as u32).to_le_bytes());
        body.extend((time as u32).to_le_bytes());
        body.extend(length_field(data.len())?);
        body.extend(length_field(length)?);
        body.extend(data);
        self.block(6, &body)
    }

    /// Makes sure that everything is written.
    ///
    /// # Errors
    /// It is not.
    pub fn finish(mut self) -> io::Result<()> {
        self.to.flush()
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let padded = body.len().next_multiple_of(4);
        let length = length_field(padded + 12)?;
        self.to.write_all(&kind.to_le_bytes())?;
        self.to.write_all(&length)?;
        self.to.write_all(body)?;
        self.to.write_all(&[0; 3][..padded - body.len()])?;
        self.to.write_all(&length)
    }
}

fn length_field(length: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(length).map_err(io::Error::other)?;
    Ok(length.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_every_resolution_become_nanoseconds() {
        let at = |resolution, offset, stamp| {
            let units = units(resolution);
            Clock { units, offset }.nanoseconds(stamp)
        };
        assert_eq!(at(6, 0, 1_500_000), 1_500_000_000);
        assert_eq!(at(9, 10, 1_500_000_000), 11_500_000_000);
        assert_eq!(at(0x81, 0, 3), 1_500_000_000);
        assert_eq!(at(0, -5, 3), 0);
        assert_eq!(at(6, i128::MAX, u128::MAX), u64::MAX);
        assert_eq!(at(127, 0, u128::from(u64::MAX)), 0);
    }
}
