//! SIPp, which makes many calls at once. The media of its calls are for [`Ear`](super::media::Ear)s.

use super::Folder;
use super::capture::{Capture, Packet};
use super::net::Host;
use super::process::Process;
use super::sip::{header, media_target, split_messages};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;

/// How many calls.
pub const CALLS: usize = 200;

/// The file that tells the caller of a scenario whether its calls shall go on.
const STATE: &str = "state";

/// A running SIPp that makes, or takes, all the calls.
#[derive(Debug)]
pub struct Sipp {
    process: Process,
    folder: Folder,
}

/// The ends of a call's media as one side knows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Media {
    /// Where this side listens.
    pub own: SocketAddrV4,
    /// Where it was told to send to.
    pub far: SocketAddrV4,
}

impl Sipp {
    /// Makes all calls at once, each by a connection of its own, which last until [`finish`](Sipp::finish).
    pub fn call(host: &Host, from: Ipv4Addr, to: SocketAddrV4) -> Self {
        Sipp::call_by(host, from, to, "tn")
    }

    /// Makes all calls at once by one connection, as a trunk does.
    pub fn call_by_one_connection(host: &Host, from: Ipv4Addr, to: SocketAddrV4) -> Self {
        Sipp::call_by(host, from, to, "t1")
    }

    /// Makes all calls at once over UDP, each by a socket of its own.
    pub fn call_over_udp(host: &Host, from: Ipv4Addr, to: SocketAddrV4) -> Self {
        Sipp::call_by(host, from, to, "un")
    }

    fn call_by(host: &Host, from: Ipv4Addr, to: SocketAddrV4, transport: &str) -> Self {
        let calls = CALLS.to_string();
        let mut command = Command::new("sipp");
        command.args(["-t", transport]);
        command.args(["-l", &calls, "-r", &calls, &to.to_string()]);
        let scenario = include_str!("sipp-caller.xml");
        Sipp::start(host, command, from, &over(transport, scenario))
    }

    /// Takes all calls at port 5060, from now on.
    pub fn answer(host: &Host, at: Ipv4Addr) -> Self {
        let mut command = Command::new("sipp");
        command.args(["-t", "tn", "-p", "5060"]);
        let sipp = Sipp::start(host, command, at, include_str!("sipp-callee.xml"));
        host.wait_for_listener(5060);
        sipp
    }

    /// Takes all calls at UDP port 5060, from now on.
    pub fn answer_over_udp(host: &Host, at: Ipv4Addr) -> Self {
        let mut command = Command::new("sipp");
        command.args(["-t", "u1", "-p", "5060"]);
        let scenario = over("u1", include_str!("sipp-callee.xml"));
        let sipp = Sipp::start(host, command, at, &scenario);
        host.wait_for_udp(5060);
        sipp
    }

    fn start(host: &Host, mut command: Command, at: Ipv4Addr, scenario: &str) -> Self {
        let folder = Folder::new();
        folder.write(STATE, "talk");
        command.current_dir(folder.itself());
        command
            .arg("-sf")
            .arg(folder.write("scenario.xml", scenario));
        command.args(["-nostdin", "-max_socket", "2000"]);
        command.args(["-cid_str", "%u-%p"]);
        command.args(["-i", &at.to_string(), "-mi", &at.to_string()]);
        command.args([
            "-m",
            &CALLS.to_string(),
            "-trace_err",
            "-error_file",
            "errors",
        ]);
        let process = Process::start(host, &mut command);
        Sipp { process, folder }
    }

    /// Lets the caller hang up, and waits for the end of all calls.
    ///
    /// # Panics
    /// One of them failed.
    pub fn finish(mut self) {
        self.folder.write(STATE, "over");
        let status = self.process.wait();
        assert!(status.success(), "{status}: {}", self.process.said());
    }
}

/// A scenario as it is over a transport.
fn over(transport: &str, scenario: &str) -> String {
    match transport.starts_with('u') {
        true => {
            let scenario = scenario.replace(";transport=tcp", "");
            // RFC 3261 timers A and G: a socket does not hold all that comes at once.
            let again = "<send retrans=\"500\"><![CDATA[\n";
            [
                "INVITE ",
                "BYE ",
                "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:];tag",
            ]
            .iter()
            .fold(scenario, |scenario, start| {
                let plain = format!("<send><![CDATA[\n{start}");
                scenario.replace(&plain, &format!("{again}{start}"))
            })
        }
        false => scenario.into(),
    }
}

/// The media of each call by its Call-ID, as soon as all calls are answered, from what went by at
/// the host that has this address.
pub fn media(capture: &Capture, host: Ipv4Addr) -> BTreeMap<String, Media> {
    let describes = |packet: &Packet| {
        let mut lines = packet.payload().split(|byte| *byte == b'\n');
        lines.any(|line| line.starts_with(b"m=audio "))
    };
    super::until("all calls to be answered", || {
        // Offer and answer of each; to put streams together takes long.
        if capture.count(|packet| is_sip(packet) && describes(packet)) < 2 * CALLS {
            return None;
        }
        let calls = media_so_far(capture, host);
        (calls.len() == CALLS).then_some(calls)
    })
}

fn is_sip(packet: &Packet) -> bool {
    packet.is_tcp() || packet.is_sip_over_udp()
}

fn media_so_far(capture: &Capture, host: Ipv4Addr) -> BTreeMap<String, Media> {
    let (mut own, mut far) = (BTreeMap::new(), BTreeMap::new());
    let packets = capture.so_far();
    let streams = packets.streams().into_iter();
    let mut said: Vec<_> = streams
        .map(|((from, _), stream)| (from, split_messages(&stream)))
        .collect();
    for datagram in packets.filter(Packet::is_sip_over_udp) {
        said.push((datagram.source(), split_messages(datagram.payload())));
    }
    for (from, messages) in said {
        let side = match *from.ip() == host {
            true => &mut own,
            false => &mut far,
        };
        for message in messages {
            if message.contains("\nm=audio ") {
                let call = header(&message, "Call-ID").expect("a Call-ID");
                side.insert(call.to_string(), media_target(&message));
            }
        }
    }
    let both = own.into_iter().filter_map(|(call, own)| {
        let far = *far.get(&call)?;
        Some((call, Media { own, far }))
    });
    both.collect()
}
