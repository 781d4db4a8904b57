//! Laws of a call's doors, and of connections when something runs out or goes away.

use crate::gateway::{GLOBAL, PATIENCE, eventually, hear, say};
use crate::running::Running;
use crate::tcp::{connected, hears, hears_message, is_reset, says};
use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::time::Instant;

laws![
    a_door_is_open_before_anyone_hears_of_it,
    when_the_kernel_refuses_a_door_the_bytes_go_on,
    when_descriptors_run_out_connections_wait_or_are_reset,
    the_end_of_the_gateway_resets_what_it_carried,
];

const PHONE: &str = "192.168.122.2";

fn a_door_is_open_before_anyone_hears_of_it() {
    let (gateway, _running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    let mouth = gateway.outside.udp(7000);
    // One call after the other on one connection, each answered by media at once.
    for port in (6000..6100).step_by(2) {
        let ear = gateway.phone.udp(port);
        says(&mut phone, invite(port).as_bytes());
        let offer = hears_offer(&mut outside);
        assert!(offer.contains(&format!("c=IN IP4 {GLOBAL}")), "{offer}");
        let door = SocketAddrV4::new(GLOBAL, media_port(&offer));
        say(&mouth, "at once", door);
        assert_eq!(
            hear(&ear),
            ("at once".into(), SocketAddr::from(gateway.outside.at(7000)))
        );
    }
}

fn when_the_kernel_refuses_a_door_the_bytes_go_on() {
    let (gateway, mut running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    for broken in [
        "flush chain ip sipalg nat_pre",
        "flush chain ip sipalg kept_outward",
        "delete map ip sipalg media_dn",
    ] {
        let nft = Command::new("nft")
            .args(broken.split(' '))
            .status()
            .unwrap();
        assert!(nft.success(), "{broken}");
    }
    says(&mut phone, invite(6000).as_bytes());
    let offer = hears_offer(&mut outside);
    assert!(offer.starts_with("INVITE"), "{offer}");
    running.wait_for("sipalg: cannot change ");
    says(&mut outside, b"\r\n\r\n");
    hears(&mut phone, b"\r\n\r\n");
}

fn when_descriptors_run_out_connections_wait_or_are_reset() {
    let (gateway, mut running) = Running::start();
    let idle = running.sockets();
    let limit = Command::new("prlimit")
        .args(["--pid", &running.worker().to_string(), "--nofile=48:48"])
        .status()
        .unwrap();
    assert!(limit.success());
    let server = gateway.outside.listen(5060);
    // One that is reset at once has been answered too.
    let mut phones: HashMap<u16, TcpStream> = (0..40)
        .filter_map(|_| gateway.phone.connect(0, gateway.outside.at(5060)).ok())
        .map(|phone| (phone.local_addr().unwrap().port(), phone))
        .collect();
    // It is either a leg that cannot be accepted or one that cannot be dialled.
    running.wait_for("sipalg: cannot ");
    // Each gets through when there is room, or is reset.
    let end = Instant::now() + PATIENCE;
    while !phones.is_empty() {
        assert!(Instant::now() < end, "{} hang", phones.len());
        while let Ok((_, peer)) = server.accept() {
            phones.remove(&peer.port());
        }
        phones.retain(|_, phone| !is_over(phone));
    }
    eventually(|| (running.sockets() == idle).then_some(()));
    drop(server);
    let (mut phone, mut outside) = connected(&gateway);
    says(&mut phone, b"\0hello");
    hears(&mut outside, b"\0hello");
}

fn the_end_of_the_gateway_resets_what_it_carried() {
    let (gateway, running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    says(&mut phone, b"\0hello");
    hears(&mut outside, b"\0hello");
    assert_eq!(running.stop().status.code(), Some(0));
    is_reset(&mut phone);
    is_reset(&mut outside);
}

fn is_over(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.peek(&mut [0]);
    read.is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
}

/// A call that offers media at the phone's `port`.
fn invite(port: u16) -> String {
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 {PHONE}\r\ns=-\r\nc=IN IP4 {PHONE}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    );
    format!(
        "INVITE sip:b@x SIP/2.0\r\nVia: SIP/2.0/TCP {PHONE}:5060;branch=z9hG4bK{port}\r\n\
         From: <sip:a@x>;tag={port}\r\nTo: <sip:b@x>\r\nCall-ID: {port}\r\nCSeq: 1 INVITE\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A message with a body.
fn hears_offer(stream: &mut TcpStream) -> String {
    let head = hears_message(stream);
    let (_, length) = head.rsplit_once("Content-Length: ").unwrap();
    let mut body = vec![0; length.trim().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn media_port(offer: &str) -> u16 {
    let (_, rest) = offer.split_once("m=audio ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}
