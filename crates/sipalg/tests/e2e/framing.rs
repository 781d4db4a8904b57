//! TCP has no messages: however a stream is cut into segments, and whatever is lost on the way,
//! the same bytes come out.

use crate::harness::capture::{Capture, Packets};
use crate::harness::gateway::Gateway;
use crate::harness::net::{GIN, GOUT, Host, Net, inside_address, outside_address};
use crate::harness::sip::{Dialogue, Peer, Server, answer, header, split_messages};
use crate::harness::sipp::Sipp;
use std::net::{Ipv4Addr, SocketAddrV4};

/// How many messages each side sends.
const MESSAGES: usize = 100;

#[test]
fn a_byte_a_segment_comes_out_as_a_message_a_segment() {
    let (bytes, packets) = deliver(Cut::Byte, Loss::None);
    assert_eq!(bytes, one_message_a_segment());
    // Some acknowledgements are late, and then TCP puts bytes together.
    let sizes = segments_from(&packets, inside_address(3));
    let single = sizes.iter().filter(|size| **size == 1).count();
    assert!(single > sizes.len() / 2, "{single} of {}", sizes.len());
}

#[test]
fn a_hundred_messages_in_a_segment_come_out_as_a_message_a_segment() {
    let (bytes, packets) = deliver(Cut::Nowhere, Loss::None);
    assert_eq!(bytes, one_message_a_segment());
    let sizes = segments_from(&packets, inside_address(3));
    assert_eq!(
        sizes,
        [messages(inside_address(3), outside_address(2), "a")
            .concat()
            .len()]
    );
}

#[test]
fn with_loss_on_the_inside_leg_the_same_comes_out() {
    assert_eq!(
        deliver(Cut::Message, Loss::Inside).0,
        one_message_a_segment()
    );
}

#[test]
fn with_loss_on_the_outside_leg_the_same_comes_out() {
    assert_eq!(
        deliver(Cut::Message, Loss::Outside).0,
        one_message_a_segment()
    );
}

#[test]
fn with_loss_on_both_legs_no_call_is_lost() {
    let net = Net::new();
    let (caller, callee) = (net.inside(3), net.outside(2));
    let _gateway = Gateway::start(&net);
    net.lan.lose();
    net.wan.lose();
    let taking = Sipp::answer(&callee, outside_address(2));
    let to = SocketAddrV4::new(outside_address(2), 5060);
    // By one: SIPp waits for each connection before it makes the next, and many a SYN is lost.
    Sipp::call_by_one_connection(&caller, inside_address(3), to).finish();
    taking.finish();
    assert!(net.lan.lost() > 0 && net.wan.lost() > 0);
}

#[test]
fn with_loss_on_both_legs_every_connection_is_made_and_answered() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let _gateway = Gateway::start(&net);
    net.lan.lose();
    net.wan.lose();
    let from = SocketAddrV4::new(inside_address(3), 0);
    let to = SocketAddrV4::new(outside_address(2), 5060);
    let listener = Server::listen(&far, to);
    let ask = |number: usize| {
        let mut near = Peer::connect(&phone, from, to).expect("a connection");
        let call = Dialogue::new(&format!("loss{number}"), near.local(), to);
        near.send(call.request("OPTIONS", 1, ""));
        near.message()
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..50)
            .map(|number| scope.spawn(move || ask(number)))
            .collect();
        // The far ends stay open until all are answered.
        let mut taken: Vec<_> = asking.iter().map(|_| listener.accept()).collect();
        for far in &mut taken {
            let request = far.message();
            assert!(!request.contains("192.168.122."), "{request}");
            far.send(answer(&request, "200 OK", "", ""));
        }
        for (number, asking) in asking.into_iter().enumerate() {
            let reply = asking.join().expect("an answer");
            let call = format!("loss{number}");
            assert_eq!(header(&reply, "Call-ID"), Some(call.as_str()), "{reply}");
            assert!(header(&reply, "From").is_some_and(|from| from.contains("192.168.122.3")));
        }
    });
    assert!(net.lan.lost() > 0 && net.wan.lost() > 0);
}

/// How a stream is cut into segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    Byte,
    Message,
    Nowhere,
}

/// Which wire loses 5 of 100 frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loss {
    None,
    Inside,
    Outside,
}

/// What came out at both ends.
#[derive(PartialEq, Eq)]
struct Delivered {
    outside: Vec<u8>,
    inside: Vec<u8>,
}

/// What all deliveries are compared with: it is as it shall be.
fn one_message_a_segment() -> Delivered {
    let (delivered, packets) = deliver(Cut::Message, Loss::None);
    let sizes = segments_from(&packets, inside_address(3));
    assert!(sizes.len() >= MESSAGES, "{} segments", sizes.len());
    for (stream, untranslated) in [
        (&delivered.outside, "192.168.122."),
        (&delivered.inside, "10.1.1.1"),
    ] {
        let text = String::from_utf8_lossy(stream);
        assert!(!text.contains(untranslated), "{text}");
        assert_eq!(split_messages(stream).len(), MESSAGES);
    }
    delivered
}

/// Sends all messages through a new gateway, from inside and then from outside.
fn deliver(cut: Cut, loss: Loss) -> (Delivered, Packets) {
    let net = Net::new();
    let (phone, server) = (net.inside(3), net.outside(2));
    if cut == Cut::Nowhere {
        widen(&net.lan, "wire in3 gw");
        widen(&phone, "eth0");
        widen(&net.gateway, "gin");
    }
    // So that TCP sends each piece at once, instead of putting bytes together while it waits.
    phone.ip(&format!("route replace default via {GIN} initcwnd 10000"));
    let _gateway = Gateway::start(&net);
    let to = SocketAddrV4::new(outside_address(2), 5060);
    let listener = Server::listen(&server, to);
    let capture = Capture::start(&net.gateway, "gin");
    let from = SocketAddrV4::new(inside_address(3), 40_000);
    let mut near = Peer::connect(&phone, from, to).expect("a connection");
    let mut far = listener.accept();
    let lossy = match loss {
        Loss::None => None,
        Loss::Inside => Some(&net.lan),
        Loss::Outside => Some(&net.wan),
    };
    lossy.inspect(|wire| wire.lose());
    let outside = send(
        &mut near,
        &mut far,
        &messages(inside_address(3), outside_address(2), "a"),
        cut,
    );
    let inside = send(
        &mut far,
        &mut near,
        &messages(outside_address(2), GOUT, "b"),
        cut,
    );
    assert!(lossy.is_none_or(|wire| wire.lost() > 0), "nothing was lost");
    (Delivered { outside, inside }, capture.stop())
}

/// Sends all of it from one end while the other receives, to the end.
fn send(from: &mut Peer, to: &mut Peer, messages: &[String], cut: Cut) -> Vec<u8> {
    std::thread::scope(|scope| {
        let received = scope.spawn(|| to.rest().expect("all of it"));
        match cut {
            Cut::Byte => messages.concat().bytes().for_each(|byte| from.send([byte])),
            Cut::Message => messages.iter().for_each(|message| from.send(message)),
            Cut::Nowhere => from.send(messages.concat()),
        }
        from.finish();
        received.join().expect("the receiver")
    })
}

/// Short requests from one host to another, a quarter of them with a session description, some with
/// keepalives between.
fn messages(from: Ipv4Addr, to: Ipv4Addr, name: &str) -> Vec<String> {
    let message = |number: usize| {
        let port = 4000 + 2 * number;
        let (method, kind, body) = match number % 4 {
            0 => (
                "INVITE",
                "c: application/sdp\r\n",
                format!(
                    "v=0\r\no=- 1 1 IN IP4 {from}\r\ns=-\r\nc=IN IP4 {from}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
                ),
            ),
            _ => ("OPTIONS", "", String::new()),
        };
        format!(
            "{method} sip:x@{to} SIP/2.0\r\nv: SIP/2.0/TCP {from};branch=z9hG4bK{number}\r\n\
             f: <sip:{name}@{from}>;tag=1\r\nt: <sip:x@{to}>\r\ni: {name}{number}\r\n\
             CSeq: 1 {method}\r\nm: <sip:{name}@{from}>\r\n{kind}l: {}\r\n\r\n{body}",
            body.len()
        )
    };
    (0..MESSAGES).map(message).collect()
}

/// The sizes of the segments with data that a host sent.
fn segments_from(packets: &Packets, host: Ipv4Addr) -> Vec<usize> {
    let of_host = packets.filter(|packet| packet.is_tcp() && *packet.source().ip() == host);
    let sizes = of_host.iter().map(|packet| packet.payload().len());
    sizes.filter(|size| *size > 0).collect()
}

/// Lets interfaces carry all messages in one segment.
fn widen(host: &Host, interfaces: &str) {
    let command = |interface| format!("link set {interface} mtu 65535\n");
    host.ip(&interfaces.split(' ').map(command).collect::<String>());
}

impl std::fmt::Debug for Delivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (outside, inside) = (
            String::from_utf8_lossy(&self.outside),
            String::from_utf8_lossy(&self.inside),
        );
        write!(
            f,
            "at the outside host:\n{outside}\nat the inside host:\n{inside}"
        )
    }
}
