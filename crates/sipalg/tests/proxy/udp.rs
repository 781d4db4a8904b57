//! Laws of SIP over UDP: to both hosts it is as if there were a plain NAT that knows SIP.

use crate::gateway::{GLOBAL, global};
use crate::running::Running;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use socket2::SockRef;
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

laws![
    a_request_goes_out_translated_and_its_answer_comes_back_as_it_was,
    two_phones_at_the_same_port_are_told_apart,
    a_message_in_fragments_passes_both_ways,
    datagrams_that_are_not_sip_pass_unchanged,
    a_phone_is_called_by_a_host_that_it_never_spoke_to,
    two_inside_phones_speak_through_the_gateway,
    the_mark_of_a_datagram_stays,
    a_closed_port_outside_ends_nothing,
];

const PHONE: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 2);

fn a_request_goes_out_translated_and_its_answer_comes_back_as_it_was() {
    let (gateway, _running) = Running::start();
    let server = gateway.outside.udp(5060);
    let phone = gateway.phone.udp(5060);
    let request = options(gateway.phone.at(5060), "");
    says(&phone, &request, gateway.outside.at(5060));
    let (heard, from) = hears(&server);
    // The source port is kept.
    assert_eq!(from, global(5060));
    assert_eq!(
        heard,
        request.replace(&PHONE.to_string(), &GLOBAL.to_string())
    );
    let told = format!(";rport=5060;received={GLOBAL}");
    says(&server, &answer(&heard).replace(";rport", &told), from);
    let told = format!(";rport=5060;received={PHONE}");
    let expected = answer(&request).replace(";rport", &told);
    assert_eq!(hears(&phone), (expected, gateway.outside.at(5060)));
}

fn two_phones_at_the_same_port_are_told_apart() {
    let (gateway, _running) = Running::start();
    let server = gateway.outside.udp(5060);
    let mut seen = Vec::new();
    let phones = [&gateway.phone, &gateway.second].map(|host| (host, host.udp(5060)));
    for (host, phone) in &phones {
        says(phone, &options(host.at(5060), ""), gateway.outside.at(5060));
        let (heard, from) = hears(&server);
        assert!(heard.contains(&format!("UDP {from};")), "{heard}");
        seen.push((answer(&heard), from));
    }
    assert_ne!(seen[0].1, seen[1].1);
    for ((answer, to), (host, phone)) in seen.iter().zip(&phones).rev() {
        says(&server, answer, *to);
        let (heard, from) = hears(phone);
        assert_eq!(from, gateway.outside.at(5060));
        assert!(
            heard.contains(&format!("UDP {}:5060;", host.address)),
            "{heard}"
        );
    }
}

fn a_message_in_fragments_passes_both_ways() {
    let (gateway, _running) = Running::start();
    let (server, phone) = (gateway.outside.udp(5060), gateway.phone.udp(5060));
    // As many addresses as make it grow on the way in, where the inside ones are longer.
    let long = format!("Subject: {}\r\n", "x".repeat(4000));
    let request = options(gateway.phone.at(5060), &long);
    says(&phone, &request, gateway.outside.at(5060));
    let (heard, from) = hears(&server);
    assert_eq!(
        heard,
        request.replace(&PHONE.to_string(), &GLOBAL.to_string())
    );
    says(&server, &answer(&heard), from);
    assert_eq!(hears(&phone).0, answer(&request));
    // One that fits the MTU of 1500 as it comes, and not as it leaves.
    let room = 1472 - options(global(5060), "Subject: \r\n").len();
    let full = options(global(5060), &format!("Subject: {}\r\n", "x".repeat(room)));
    assert_eq!(full.len(), 1472);
    says(&server, &answer(&full), from);
    let (heard, _) = hears(&phone);
    assert!(heard.contains(&format!("UDP {PHONE}:5060;")), "{heard}");
}

fn datagrams_that_are_not_sip_pass_unchanged() {
    let (gateway, _running) = Running::start();
    let (server, phone) = (gateway.outside.udp(5060), gateway.phone.udp(5060));
    let large = vec![0xa5; 60_000];
    for bytes in [&b"\0\xff not SIP"[..], b"\r\n\r\n", b"", &large] {
        phone.send_to(bytes, gateway.outside.at(5060)).unwrap();
        let (heard, from) = hears_bytes(&server);
        assert_eq!((&heard[..], from), (bytes, global(5060)));
        server.send_to(bytes, from).unwrap();
        let (heard, from) = hears_bytes(&phone);
        assert_eq!((&heard[..], from), (bytes, gateway.outside.at(5060)));
    }
}

fn a_phone_is_called_by_a_host_that_it_never_spoke_to() {
    let (gateway, _running) = Running::start();
    let (server, phone) = (gateway.outside.udp(5060), gateway.phone.udp(5060));
    says(
        &phone,
        &options(gateway.phone.at(5060), ""),
        gateway.outside.at(5060),
    );
    let (_, contact) = hears(&server);
    let stranger = gateway.outside.alias(Ipv4Addr::new(10, 1, 1, 3));
    let caller = stranger.udp(7060);
    let request = options(stranger.at(7060), "").replace("sip:b@x", &format!("sip:a@{contact}"));
    says(&caller, &request, contact);
    let (heard, from) = hears(&phone);
    assert_eq!(from, stranger.at(7060));
    assert!(
        heard.starts_with(&format!("OPTIONS sip:a@{PHONE}:5060 ")),
        "{heard}"
    );
    says(&phone, &answer(&heard), from);
    let (heard, from) = hears(&caller);
    assert_eq!((heard, from), (answer(&request), contact));
}

fn two_inside_phones_speak_through_the_gateway() {
    let (gateway, _running) = Running::start();
    let (server, phone) = (gateway.outside.udp(5060), gateway.phone.udp(5060));
    let second = gateway.second.udp(5060);
    let mut contacts = Vec::new();
    for (host, phone) in [(&gateway.phone, &phone), (&gateway.second, &second)] {
        says(phone, &options(host.at(5060), ""), gateway.outside.at(5060));
        contacts.push(hears(&server).1);
    }
    says(&phone, &options(gateway.phone.at(5060), ""), contacts[1]);
    let (heard, from) = hears(&second);
    assert_eq!(from, contacts[0]);
    says(&second, &answer(&heard), from);
    let (heard, from) = hears(&phone);
    assert_eq!(from, contacts[1]);
    assert!(heard.contains(&format!("UDP {PHONE}:5060;")), "{heard}");
}

fn the_mark_of_a_datagram_stays() {
    let (gateway, _running) = Running::start();
    let (server, phone) = (gateway.outside.udp(5060), gateway.phone.udp(5060));
    for (from, to, at) in [
        (&phone, &server, gateway.outside.at(5060)),
        (&server, &phone, global(5060)),
    ] {
        setsockopt(to, sockopt::IpRecvTos, &true).unwrap();
        // CS3 with ECN, which ends at each hop.
        SockRef::from(from).set_tos_v4(0x62).unwrap();
        from.send_to(b"hello", at).unwrap();
        assert_eq!(tos_of_next(to), 0x60);
    }
}

fn a_closed_port_outside_ends_nothing() {
    let (gateway, _running) = Running::start();
    let (server, phone) = (gateway.outside.udp(5060), gateway.phone.udp(5060));
    let other = gateway.outside.alias(Ipv4Addr::new(10, 1, 1, 3));
    let witness = other.udp(5060);
    says(&phone, "first", gateway.outside.at(5060));
    let (_, from) = hears(&server);
    drop(server);
    // It brings an ICMP error, and is on its way before what the witness hears.
    says(&phone, "lost", gateway.outside.at(5060));
    says(&phone, "after", other.at(5060));
    assert_eq!(hears(&witness).0, "after");
    let server = gateway.outside.udp(5060);
    says(&phone, "second", gateway.outside.at(5060));
    assert_eq!(hears(&server), ("second".into(), from));
}

/// An OPTIONS request of the host at `me`, with further header fields.
pub(crate) fn options(me: SocketAddrV4, more: &str) -> String {
    format!(
        "OPTIONS sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bK1\r\n\
         From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n{more}\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The answer to a request.
pub(crate) fn answer(request: &str) -> String {
    let (_, fields) = request.split_once("\r\n").unwrap();
    format!("SIP/2.0 200 OK\r\n{fields}")
}

pub(crate) fn says(socket: &UdpSocket, text: &str, to: SocketAddrV4) {
    socket.send_to(text.as_bytes(), to).unwrap();
}

/// The next datagram, as text, and who it is from.
pub(crate) fn hears(socket: &UdpSocket) -> (String, SocketAddrV4) {
    let (bytes, from) = hears_bytes(socket);
    (String::from_utf8(bytes).unwrap(), from)
}

fn hears_bytes(socket: &UdpSocket) -> (Vec<u8>, SocketAddrV4) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram arrives");
    buffer.truncate(length);
    let SocketAddr::V4(from) = from else {
        panic!("IPv4 only");
    };
    (buffer, from)
}

fn tos_of_next(socket: &UdpSocket) -> u8 {
    let mut control = nix::cmsg_space!(u8);
    let mut buffer = [0; 100];
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let fd = socket.as_raw_fd();
    let message =
        recvmsg::<SockaddrIn>(fd, &mut parts, Some(&mut control), MsgFlags::empty()).unwrap();
    let marks = message.cmsgs().unwrap().find_map(|control| match control {
        ControlMessageOwned::Ipv4Tos(tos) => Some(tos),
        _ => None,
    });
    marks.unwrap()
}
