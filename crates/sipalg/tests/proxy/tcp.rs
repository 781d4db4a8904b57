//! Laws of a proxied connection: it is, for both hosts, as if there were a plain NAT.

use crate::gateway::{GLOBAL, Gateway, PATIENCE, accepted, eventually, global, listener};
use crate::running::{CONFIGURATION, Running};
use crate::udp;
use socket2::SockRef;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

// Where no SIP is spoken here, a NUL comes first: it begins no SIP message, so that nothing is held.

laws![
    bytes_pass_both_ways_and_the_outside_sees_the_inside_global,
    a_registered_phone_is_reached_from_outside_and_sees_who_calls,
    a_registered_phones_connection_is_kept_alive,
    a_half_closed_connection_goes_on_the_other_way,
    a_reset_passes_both_ways,
    a_refusal_becomes_a_reset,
    an_unreachable_host_becomes_a_reset,
    a_reset_ends_a_dial,
    a_reader_that_is_slow_holds_up_its_sender_and_costs_bounded_memory,
    the_same_port_connects_again,
    a_port_that_the_gateway_itself_took_is_not_used,
    syn_cookies_are_no_hindrance,
    the_mark_of_the_syn_is_on_both_legs,
    the_listener_itself_is_no_destination,
    five_thousand_connections_are_carried_in_little_memory,
];

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 2);
const PHONE: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 2);

fn bytes_pass_both_ways_and_the_outside_sees_the_inside_global() {
    let (gateway, _running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut phone = gateway
        .phone
        .connect(40_000, gateway.outside.at(5060))
        .unwrap();
    let (mut outside, peer, _) = accepted(&server);
    assert_eq!(peer, SocketAddr::from(global(40_000)));
    assert_eq!(
        phone.peer_addr().unwrap(),
        SocketAddr::from((OUTSIDE, 5060))
    );
    says(&mut phone, b"GET / HTTP/1.0\r\n\r\n");
    hears(&mut outside, b"GET / HTTP/1.0\r\n\r\n");
    says(&mut outside, b"HTTP/1.0 200 OK\r\n\r\n");
    hears(&mut phone, b"HTTP/1.0 200 OK\r\n\r\n");
}

fn a_registered_phone_is_reached_from_outside_and_sees_who_calls() {
    let (gateway, _running) = Running::start();
    let phone = gateway.phone.listen(5070);
    let _line = registered(&gateway);
    let mut caller = gateway.outside.connect(45_000, global(5070)).unwrap();
    let (mut called, peer, _) = accepted(&phone);
    assert_eq!(peer, SocketAddr::from((OUTSIDE, 45_000)));
    says(&mut caller, b"\r\n\r\n");
    hears(&mut called, b"\r\n\r\n");
    says(&mut called, b"\r\n");
    hears(&mut caller, b"\r\n");
}

fn a_registered_phones_connection_is_kept_alive() {
    let gateway = Gateway::bare();
    let often = format!("{CONFIGURATION}ip nat service sip keepalive 5\n");
    let _running = Running::start_with(&gateway, &often);
    let (mut line, mut outside) = registered(&gateway);
    let longer = Some(Duration::from_secs(15));
    outside.set_read_timeout(longer).unwrap();
    hears(&mut outside, b"\r\n\r\n");
    // The answer is not for the phone, which did not ask.
    let message = udp::options(gateway.outside.at(5060), "").replace("UDP", "TCP");
    says(&mut outside, format!("\r\n{message}").as_bytes());
    assert_eq!(hears_message(&mut line), message);
}

fn a_half_closed_connection_goes_on_the_other_way() {
    let (gateway, running) = Running::start();
    let idle = running.sockets();
    let (mut phone, mut outside) = connected(&gateway);
    says(&mut phone, b"\0last words");
    phone.shutdown(Shutdown::Write).unwrap();
    hears(&mut outside, b"\0last words");
    ends(&mut outside);
    says(&mut outside, b"\0the answer");
    hears(&mut phone, b"\0the answer");
    outside.shutdown(Shutdown::Write).unwrap();
    ends(&mut phone);
    eventually(|| (running.sockets() == idle).then_some(()));
}

fn a_reset_passes_both_ways() {
    let (gateway, running) = Running::start();
    let idle = running.sockets();
    let (phone, mut outside) = connected(&gateway);
    reset(phone);
    is_reset(&mut outside);
    let (mut phone, mut outside) = connected(&gateway);
    says(&mut outside, b"\0before");
    hears(&mut phone, b"\0before");
    reset(outside);
    is_reset(&mut phone);
    eventually(|| (running.sockets() == idle).then_some(()));
}

fn a_refusal_becomes_a_reset() {
    let (gateway, running) = Running::start();
    let idle = running.sockets();
    ends_by_reset(gateway.phone.connect(0, gateway.outside.at(5060)));
    eventually(|| (running.sockets() == idle).then_some(()));
}

fn an_unreachable_host_becomes_a_reset() {
    let (gateway, _running) = Running::start();
    let nobody = SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 99), 5060);
    ends_by_reset(gateway.phone.connect(0, nobody));
}

/// The reset may come before the connection is even told of.
fn ends_by_reset(connected: std::io::Result<TcpStream>) {
    match connected {
        Ok(mut phone) => is_reset(&mut phone),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

fn a_reset_ends_a_dial() {
    let (gateway, running) = Running::start();
    let idle = running.sockets();
    // Nobody answers for this address, and the kernel asks for seconds.
    let nobody = SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 99), 5060);
    let phone = gateway.phone.connect(0, nobody).unwrap();
    eventually(|| (running.sockets() == idle + 2).then_some(()));
    let begun = Instant::now();
    reset(phone);
    eventually(|| (running.sockets() == idle).then_some(()));
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "not by the dial's own end"
    );
}

fn a_reader_that_is_slow_holds_up_its_sender_and_costs_bounded_memory() {
    const TOTAL: usize = 64 * 1024 * 1024;
    let (gateway, running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    says(&mut phone, b"\0");
    hears(&mut outside, b"\0");
    let before = running.memory();
    phone
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let chunk: Vec<u8> = (0..251 * 251).map(|at| (at % 251) as u8).collect();
    let mut written = 0;
    let stuck = loop {
        match phone.write(&chunk[written % 251..]) {
            Ok(more) => written += more,
            Err(error) => break error,
        }
        assert!(written < TOTAL, "the sender is never held up");
    };
    assert_eq!(stuck.kind(), ErrorKind::WouldBlock);
    let grown = running.memory().saturating_sub(before);
    assert!(grown < 4 * 1024 * 1024, "{grown} bytes for one slow reader");
    let reader = std::thread::spawn(move || {
        let mut heard = Vec::new();
        outside.read_to_end(&mut heard).unwrap();
        heard
    });
    while written < TOTAL {
        written += phone.write(&chunk[written % 251..]).unwrap();
    }
    phone.shutdown(Shutdown::Write).unwrap();
    let heard = reader.join().unwrap();
    assert_eq!(heard.len(), written);
    let wrong = heard
        .iter()
        .enumerate()
        .find(|(at, byte)| **byte != (at % 251) as u8);
    assert_eq!(wrong, None);
}

fn the_same_port_connects_again() {
    let (gateway, _running) = Running::start();
    let server = gateway.outside.listen(5060);
    for round in 0..5 {
        // A phone that has forgotten its last connection uses its fixed port again at once.
        let phone = gateway
            .phone
            .connect(5060, gateway.outside.at(5060))
            .unwrap();
        let (mut outside, peer, _) = accepted(&server);
        assert_eq!(peer, SocketAddr::from(global(5060)), "round {round}");
        outside.shutdown(Shutdown::Write).unwrap();
        let mut phone = phone;
        ends(&mut phone);
        drop(phone);
        ends(&mut outside);
    }
}

fn a_port_that_the_gateway_itself_took_is_not_used() {
    let (gateway, _running) = Running::start();
    let _own = listener(global(40_000));
    let server = gateway.outside.listen(5060);
    let mut phone = gateway
        .phone
        .connect(40_000, gateway.outside.at(5060))
        .unwrap();
    let (mut outside, peer, _) = accepted(&server);
    assert_eq!(peer.ip(), GLOBAL);
    assert_ne!(peer.port(), 40_000);
    says(&mut phone, b"\0hello");
    hears(&mut outside, b"\0hello");
}

fn syn_cookies_are_no_hindrance() {
    let (gateway, _running) = Running::start();
    fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").unwrap();
    let (mut phone, mut outside) = connected(&gateway);
    says(&mut phone, b"\0hello");
    hears(&mut outside, b"\0hello");
}

fn the_mark_of_the_syn_is_on_both_legs() {
    const EXPEDITED: u8 = 46 << 2;
    let (gateway, _running) = Running::start();
    let server = gateway.outside.listen(5060);
    let (at_outside, at_phone) = (gateway.outside.capture(), gateway.phone.capture());
    let mut phone = gateway.phone.run(|| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_tos_v4(EXPEDITED.into()).unwrap();
        socket
            .connect(&SocketAddr::from(gateway.outside.at(5060)).into())
            .unwrap();
        TcpStream::from(socket)
    });
    let (mut outside, ..) = accepted(&server);
    says(&mut phone, b"\0to the outside");
    hears(&mut outside, b"\0to the outside");
    says(&mut outside, b"\0to the phone");
    hears(&mut phone, b"\0to the phone");
    for packet in at_outside.until(b"\0to the outside") {
        let is_tcp = packet[9] == 6;
        assert!(
            !is_tcp || packet[1] & 0xfc == EXPEDITED,
            "SYN and all that follow: {packet:?}"
        );
    }
    let packets = at_phone.until(b"\0to the phone");
    assert_eq!(packets.last().unwrap()[1] & 0xfc, EXPEDITED);
}

fn the_listener_itself_is_no_destination() {
    let (_gateway, running) = Running::start();
    let idle = running.sockets();
    let mut stream = TcpStream::connect(crate::gateway::LISTENER).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    is_reset(&mut stream);
    eventually(|| (running.sockets() == idle).then_some(()));
}

fn five_thousand_connections_are_carried_in_little_memory() {
    const MANY: usize = 5000;
    let gateway = Gateway::bare();
    // Where few descriptors are allowed, a quarter of them is less.
    let more = "ip nat service sip limit connections all-host 9000\n";
    let running = Running::start_with(&gateway, &format!("{CONFIGURATION}{more}"));
    let server = gateway.outside.listen(5060);
    // Before counting: what the first of them need and the others share, such as the store's cache.
    let warm = many(&gateway, &server, 3000);
    let before = running.memory();
    let mut pairs = many(&gateway, &server, MANY);
    let each = running.memory().saturating_sub(before) / MANY;
    println!("{each} bytes for each idle connection");
    assert!(each <= 512, "{each} bytes for each idle connection");
    for (number, (phone, outside)) in pairs.iter_mut().enumerate() {
        let text = format!("\0{number:06}");
        says(phone, text.as_bytes());
        hears(outside, text.as_bytes());
        says(outside, text.as_bytes());
        hears(phone, text.as_bytes());
    }
    let idle = running.sockets() - 2 * (MANY + warm.len());
    drop((pairs, warm));
    eventually(|| (running.sockets() == idle).then_some(()));
}

fn many(
    gateway: &Gateway,
    server: &std::net::TcpListener,
    count: usize,
) -> Vec<(TcpStream, TcpStream)> {
    (0..count)
        .map(|_| {
            let phone = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
            let (outside, ..) = accepted(server);
            (phone, outside)
        })
        .collect()
}

/// The phone's connection to a registrar, at both ends, with its port 5070 registered.
pub(crate) fn registered(gateway: &Gateway) -> (TcpStream, TcpStream) {
    let registrar = gateway.outside.listen(5060);
    let to = gateway.outside.at(5060);
    let mut line = gateway.phone.connect(40_000, to).unwrap();
    let (mut outside, ..) = accepted(&registrar);
    let (start, contact) = ("REGISTER sip:x SIP/2.0", gateway.phone.at(5070));
    let message = format!(
        "{start}\r\nVia: SIP/2.0/TCP {PHONE}:40000;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n\
         To: <sip:a@x>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@{contact};transport=tcp>\r\n\
         Expires: 60\r\nContent-Length: 0\r\n\r\n"
    );
    says(&mut line, message.as_bytes());
    let heard = hears_message(&mut outside);
    let seen = format!("<sip:a@{};", global(5070));
    assert!(heard.contains(&seen), "{heard}");
    let answer = heard.replace(start, "SIP/2.0 200 OK");
    says(&mut outside, answer.as_bytes());
    let confirmed = hears_message(&mut line);
    assert!(
        confirmed.contains(&format!("<sip:a@{contact};")),
        "{confirmed}"
    );
    (line, outside)
}

/// A connection from the phone to a server outside.
pub(crate) fn connected(gateway: &Gateway) -> (TcpStream, TcpStream) {
    let server = gateway.outside.listen(5060);
    let phone = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    (phone, accepted(&server).0)
}

pub(crate) fn says(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}

pub(crate) fn hears(stream: &mut TcpStream, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, bytes);
}

/// A SIP message without a body.
pub(crate) fn hears_message(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        heard.extend(byte);
    }
    String::from_utf8(heard).unwrap()
}

fn ends(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "FIN");
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

pub(crate) fn is_reset(stream: &mut TcpStream) {
    let error = stream
        .read(&mut [0; 16])
        .expect_err("RST, not FIN or bytes");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
