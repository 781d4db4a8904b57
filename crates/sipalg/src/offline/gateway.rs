//! Every packet of a capture, through the gateway to the other side.

use super::capture::Damage;
use super::configuration::Configuration;
use super::fragments::Fragments;
use super::packet::{NotRead, Packet, link_header};
use super::report::{LeftOut, Place, Report};
use super::signalling::{Machine, Pair, Stream};
use super::tcp::{Relay, Segment, Sent};
use etherparse::{IpNumber, TcpHeader};
use sipalg_core::sip::uri;
use sipalg_core::{DoorKind, Leg, Protocol};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A packet of the capture.
#[derive(Debug)]
pub struct Frame<'a> {
    /// How its link header is to be read.
    pub link_type: u16,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// What was captured.
    pub data: &'a [u8],
    /// How many bytes it had on the wire.
    pub length: usize,
}

/// Where packets go: the bytes, and how many there were on the wire.
pub type Write<'a> = &'a mut dyn FnMut(&[u8], usize) -> io::Result<()>;

/// The gateway.
pub struct Gateway<'a> {
    machine: Machine<'a>,
    sip_ports: BTreeSet<u16>,
    fragments: Fragments,
    connections: HashMap<Pair, Connection>,
    /// Connections that were seen to begin at a SIP port, but head for none.
    not_sip: HashSet<Pair>,
    /// When the capture began.
    began: Option<u64>,
}

#[derive(Debug)]
struct Connection {
    relay: Relay,
    stream: Stream,
}

/// What leaves for a packet.
enum Leaves {
    /// The same.
    Unchanged,
    /// These, maybe none.
    Packets(Vec<Packet>),
}

/// A packet that crosses the gateway.
struct Crossing {
    packet: Packet,
    from: Leg,
    pair: Pair,
    place: Place,
}

impl<'a> Gateway<'a> {
    /// A gateway without state.
    pub fn new(configuration: Configuration, report: Report<'a>) -> Self {
        Gateway {
            machine: Machine::new(configuration.machine, report),
            sip_ports: configuration.sip_ports,
            fragments: Fragments::default(),
            connections: HashMap::new(),
            not_sip: HashSet::new(),
            began: None,
        }
    }

    /// Takes in the next packet of the capture, and hands on what leaves for it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn frame(&mut self, frame: &Frame<'_>, write: Write<'_>) -> io::Result<()> {
        self.machine.report.counts.read += 1;
        self.machine.at(frame.time);
        let began = *self.began.get_or_insert(frame.time);
        let since = frame.time.saturating_sub(began);
        let link = match link_header(frame.link_type, frame.data) {
            Ok(length) => frame.data.split_at_checked(length),
            Err(why) => return self.leave_out(not_read(why)),
        };
        let Some((link, bytes)) = link else {
            return self.leave_out(LeftOut::Malformed);
        };
        let leaves = match Packet::read(bytes) {
            Ok(packet) => self.packet(packet, since),
            Err(why) => Err(not_read(why)),
        };
        match leaves {
            Err(why) => self.leave_out(why)?,
            Ok(Leaves::Unchanged) => {
                self.machine.report.counts.written += 1;
                write(frame.data, frame.length)?;
            }
            Ok(Leaves::Packets(packets)) => {
                for packet in packets {
                    self.machine.report.counts.written += 1;
                    let names = self.names_inside(&packet.payload);
                    self.machine.report.counts.named += u64::from(names);
                    let data = [link, &packet.write()].concat();
                    write(&data, data.len() + packet.missing)?;
                }
            }
        }
        Ok(())
    }

    /// The capture cannot be read any further.
    pub fn damaged(&mut self, damage: &Damage) {
        self.machine.report.damaged(damage);
    }

    /// Prints the summary.
    ///
    /// # Errors
    /// Something could not be printed.
    pub fn finish(mut self) -> io::Result<()> {
        let report = &mut self.machine.report;
        let waiting = self.connections.values().map(|c| c.relay.waiting() as u64);
        report.counts.waiting = waiting.sum();
        report.left_out_more(LeftOut::Fragment, self.fragments.lost());
        self.machine.report.finish(&self.machine.alg.counters())
    }

    fn leave_out(&mut self, why: LeftOut) -> io::Result<()> {
        self.machine.report.left_out(why);
        Ok(())
    }

    /// Whether text in it names an inside host.
    fn names_inside(&self, data: &[u8]) -> bool {
        let config = self.machine.alg.config();
        let begins = |at: &usize| {
            let before = at.checked_sub(1).and_then(|before| data.get(before));
            let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.';
            data[*at].is_ascii_digit() && !before.is_some_and(inner)
        };
        let mut literals = (0..data.len())
            .filter(begins)
            .filter_map(|at| uri::ipv4(&data[at..]));
        literals.any(|(address, _)| config.permits(address))
    }

    /// Decides whether a packet crosses, and which way.
    fn packet(&mut self, packet: Packet, since: u64) -> Result<Leaves, LeftOut> {
        let (source, destination) = (
            Ipv4Addr::from(packet.header.source),
            Ipv4Addr::from(packet.header.destination),
        );
        if source.is_unspecified() || destination.is_broadcast() || destination.is_multicast() {
            return Err(LeftOut::NotRouted);
        }
        let config = self.machine.alg.config();
        let from = match (config.permits(source), config.permits(destination)) {
            (false, false) => {
                self.machine.report.counts.outside += 1;
                return Ok(Leaves::Unchanged);
            }
            (true, true) => return Err(LeftOut::StaysInside),
            (true, false) if self.machine.nat.is_global_address(destination) => {
                return Err(LeftOut::StaysInside);
            }
            (true, false) => Leg::Inside,
            (false, true) => Leg::Outside,
        };
        let packet = if packet.header.is_fragmenting_payload() {
            match self.fragments.add(packet) {
                Some(whole) => whole,
                None => return Ok(Leaves::Packets(Vec::new())),
            }
        } else {
            packet
        };
        match packet.header.protocol {
            IpNumber::TCP | IpNumber::UDP => self.crossing(packet, from, since),
            IpNumber::ICMP => self.echo(packet, from),
            _ => Err(LeftOut::Protocol),
        }
    }

    fn crossing(&mut self, packet: Packet, from: Leg, since: u64) -> Result<Leaves, LeftOut> {
        let ends = packet.ends().ok_or(LeftOut::Malformed)?;
        let pair = match from {
            Leg::Inside => Pair {
                inside: ends.source,
                outside: ends.destination,
            },
            Leg::Outside => Pair {
                inside: ends.destination,
                outside: ends.source,
            },
        };
        let tcp = packet.header.protocol == IpNumber::TCP;
        let place = Place {
            frame: self.machine.report.counts.read,
            time: since,
            transport: if tcp { "tcp" } else { "udp" },
            from,
            ends,
        };
        let crossing = Crossing {
            packet,
            from,
            pair,
            place,
        };
        if tcp {
            self.tcp(crossing)
        } else {
            self.udp(crossing)
        }
    }

    fn udp(&mut self, mut crossing: Crossing) -> Result<Leaves, LeftOut> {
        let packet = &mut crossing.packet;
        let length = packet.payload.get(4..6).ok_or(LeftOut::Malformed)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length < 8 || length > packet.payload.len() + packet.missing {
            return Err(LeftOut::Malformed);
        }
        let beyond = (packet.payload.len() + packet.missing) - length;
        packet.payload.truncate(length);
        packet.missing = packet.missing.saturating_sub(beyond);
        let inside = crossing.pair.inside;
        let (nat, now) = (&mut self.machine.nat, self.machine.now);
        let door = nat.door(now, Protocol::Udp, inside);
        let contact = door == Some(DoorKind::Signalling);
        let media = door == Some(DoorKind::Media);
        if media || !(contact || self.is_sip(inside) || self.is_sip(crossing.pair.outside)) {
            return self.ordinary(Protocol::Udp, crossing);
        }
        let Crossing {
            mut packet,
            from,
            pair,
            place,
        } = crossing;
        if packet.missing > 0 {
            return Err(LeftOut::CutOff);
        }
        let data = packet.payload.split_off(8);
        let (global, data) = self.machine.datagram(&place, pair, &data)?;
        packet.payload.extend_from_slice(&data);
        if packet.payload.len() > packet.room() {
            return Err(LeftOut::Malformed);
        }
        let length = u16::try_from(packet.payload.len()).map_err(|_| LeftOut::Malformed)?;
        packet.payload[4..6].copy_from_slice(&length.to_be_bytes());
        packet.set_ends(pair.ends(from, global));
        Ok(Leaves::Packets(vec![packet]))
    }

    fn tcp(&mut self, crossing: Crossing) -> Result<Leaves, LeftOut> {
        let Crossing {
            packet, from, pair, ..
        } = &crossing;
        let (from, pair) = (*from, *pair);
        let Ok((header, data)) = TcpHeader::from_slice(&packet.payload) else {
            return match packet.missing {
                0 => Err(LeftOut::Malformed),
                // Enough to know where it goes.
                _ if !self.is_sip(pair.inside) && !self.is_sip(pair.outside) => {
                    self.ordinary(Protocol::Tcp, crossing)
                }
                _ => Err(LeftOut::CutOff),
            };
        };
        let known = self.connections.get(&pair);
        if known.is_none_or(|known| known.relay.is_another(from, &header)) {
            let Some(opener) = self.opener(from, pair, &header) else {
                return self.ordinary(Protocol::Tcp, crossing);
            };
            if let Some(mut old) = self.connections.remove(&pair) {
                self.machine.close(&mut old.stream);
            }
            let stream = self.machine.open(opener, pair, header.syn)?;
            let relay = Relay::default();
            self.connections.insert(pair, Connection { relay, stream });
        }
        let Gateway {
            connections,
            machine,
            ..
        } = self;
        let Connection { relay, stream } = connections.get_mut(&pair).ok_or(LeftOut::Beginning)?;
        let segment = Segment {
            header: &header,
            data,
            missing: packet.missing,
        };
        let sent = relay.segment(from, &segment, &mut |part| {
            machine.part(&crossing.place, stream, part)
        });
        if header.rst || relay.has_ended() {
            machine.close(stream);
        }
        if sent.is_empty() {
            return Err(match stream.is_lost(from) {
                _ if packet.missing > 0 => LeftOut::CutOff,
                true => LeftOut::Beginning,
                false => LeftOut::Absorbed,
            });
        }
        let ends = pair.ends(from, stream.global);
        let packets = (0..).zip(sent).map(|(index, sent)| {
            let mut packet = self::packet(packet, index, sent);
            packet.set_ends(ends);
            packet
        });
        Ok(Leaves::Packets(packets.collect()))
    }

    /// Who has opened a connection on which SIP is looked into; `None` if it is not one.
    fn opener(&mut self, from: Leg, pair: Pair, header: &TcpHeader) -> Option<Leg> {
        let target = |opener: Leg| match opener {
            Leg::Inside => pair.outside,
            Leg::Outside => pair.inside,
        };
        let (nat, now) = (&mut self.machine.nat, self.machine.now);
        let contact = nat.door(now, Protocol::Tcp, pair.inside) == Some(DoorKind::Signalling);
        let to_sip =
            |opener: Leg| self.is_sip(target(opener)) || (opener == Leg::Outside && contact);
        let opener = match (header.syn, header.ack) {
            (true, false) => Some(from).filter(|from| to_sip(*from)),
            (true, true) => Some(from.other()).filter(|opener| to_sip(*opener)),
            _ if self.not_sip.contains(&pair) => None,
            // Both ports may be SIP's; whose packet it is decides then.
            _ => [from, from.other()]
                .into_iter()
                .find(|opener| to_sip(*opener)),
        };
        let begins_there = self.is_sip(pair.inside) || self.is_sip(pair.outside);
        match opener {
            None if header.syn && begins_there => _ = self.not_sip.insert(pair),
            None => {}
            Some(_) => _ = self.not_sip.remove(&pair),
        }
        opener
    }

    fn is_sip(&self, address: SocketAddrV4) -> bool {
        self.sip_ports.contains(&address.port())
    }

    /// What the kernel carries alone: media through doors, and all that is not SIP.
    fn ordinary(&mut self, protocol: Protocol, crossing: Crossing) -> Result<Leaves, LeftOut> {
        let Crossing {
            mut packet,
            from,
            pair,
            place,
        } = crossing;
        let Machine {
            nat,
            alg,
            report,
            now,
            ..
        } = &mut self.machine;
        let (inside, peer) = (pair.inside, *pair.outside.ip());
        let global = match from {
            Leg::Inside => nat.outward(*now, protocol, inside, peer)?,
            Leg::Outside => {
                let global = nat.global_of(*now, protocol, inside);
                let led =
                    global.filter(|global| nat.inward(*now, protocol, peer, *global) == Ok(inside));
                match led {
                    Some(global) => global,
                    None => {
                        report.refused(place.ends);
                        return Ok(Leaves::Packets(Vec::new()));
                    }
                }
            }
        };
        if nat.door(*now, protocol, inside) == Some(DoorKind::Media) {
            report.counts.media[usize::from(from == Leg::Outside)] += 1;
            alg.media_seen(*now, inside);
        } else {
            report.counts.ordinary += 1;
        }
        report.counts.cut_off += u64::from(packet.missing > 0);
        packet.set_ends(pair.ends(from, global));
        Ok(Leaves::Packets(vec![packet]))
    }

    /// ICMP echo has no ports; its addresses alone are exchanged.
    fn echo(&mut self, mut packet: Packet, from: Leg) -> Result<Leaves, LeftOut> {
        if !matches!(packet.payload.first(), Some(0 | 8)) {
            return Err(LeftOut::Protocol);
        }
        let inside = match from {
            Leg::Inside => &mut packet.header.source,
            Leg::Outside => &mut packet.header.destination,
        };
        let global = self.machine.nat.global_address((*inside).into());
        *inside = global.ok_or(LeftOut::Refused)?.octets();
        self.machine.report.counts.ordinary += 1;
        Ok(Leaves::Packets(vec![packet]))
    }
}

/// The packet that carries a segment, with the IP header of the one that it leaves for.
fn packet(captured: &Packet, index: u16, sent: Sent) -> Packet {
    let mut header = captured.header.clone();
    header.identification = header.identification.wrapping_add(index);
    let mut payload = sent.header.to_bytes().to_vec();
    payload.extend_from_slice(&sent.data);
    Packet {
        header,
        payload,
        missing: 0,
    }
}

fn not_read(why: NotRead) -> LeftOut {
    match why {
        NotRead::LinkType => LeftOut::LinkType,
        NotRead::NotIpv4 => LeftOut::NotIpv4,
        NotRead::Malformed => LeftOut::Malformed,
    }
}
