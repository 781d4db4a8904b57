//! What is no SIP passes on SIP's port as anywhere else, and opens nothing.

use crate::harness::gateway::Gateway;
use crate::harness::net::{Net, inside_address, outside_address};
use crate::harness::sip::{Peer, Server};
use std::net::SocketAddrV4;

#[test]
fn http_passes_unchanged() {
    let request = "POST /x HTTP/1.1\r\nHost: 10.1.1.2:5060\r\nContact: <sip:a@192.168.122.3>\r\n\
                   Content-Length: 24\r\n\r\nc=IN IP4 192.168.122.3\r\n";
    let answer = "HTTP/1.1 200 OK\r\nVia: 1.1 10.1.1.1:5060\r\nContent-Length: 4\r\n\r\nyes\n";
    assert_passes(&[
        (Side::Inside, request.as_bytes()),
        (Side::Outside, answer.as_bytes()),
    ]);
}

#[test]
fn tls_passes_unchanged() {
    // The head of a ClientHello for 192.168.122.3, and of a ServerHello.
    let mut hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03".to_vec();
    hello.extend(noise(130));
    hello.extend(b"\x00\x0d192.168.122.3\x00\x17\x00\x00");
    let mut answer = b"\x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03".to_vec();
    answer.extend(noise(84));
    assert_passes(&[
        (Side::Inside, &hello),
        (Side::Outside, &answer),
        (Side::Inside, &noise(700)),
    ]);
}

#[test]
fn noise_passes_unchanged() {
    let (long, short) = (noise(300_000), noise(1));
    assert_passes(&[
        (Side::Inside, &long),
        (Side::Outside, &short),
        (Side::Outside, &long[1000..]),
        (Side::Inside, &short),
    ]);
}

#[test]
fn a_greeting_is_not_held_back_though_it_might_be_the_start_of_a_message() {
    // Each waits for the other's line, as in SMTP; the first does not even end.
    assert_passes(&[
        (Side::Outside, b"login: "),
        (Side::Inside, b"root\n"),
        (Side::Outside, b"220 mail.example ESMTP\r\n"),
        (Side::Inside, b"HELO phone.example\r\n"),
        (Side::Outside, b"250 192.168.122.3\r\n"),
    ]);
}

/// Who says something.
#[derive(Clone, Copy, Debug)]
enum Side {
    Inside,
    Outside,
}

/// Each says what it has to say after it has heard the other, on one connection to port 5060.
fn assert_passes(conversation: &[(Side, &[u8])]) {
    let net = Net::new();
    let (phone, server) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let to = SocketAddrV4::new(outside_address(2), 5060);
    let listener = Server::listen(&server, to);
    let from = SocketAddrV4::new(inside_address(3), 5060);
    let mut near = Peer::connect(&phone, from, to).expect("a connection");
    let mut far = listener.accept();
    for (side, bytes) in conversation {
        let (mouth, ear) = match side {
            Side::Inside => (&mut near, &mut far),
            Side::Outside => (&mut far, &mut near),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| mouth.send(bytes));
            assert!(
                ear.bytes(bytes.len()) == *bytes,
                "what {side:?} said was changed"
            );
        });
    }
    near.finish();
    assert!(far.rest().expect("an end").is_empty());
    assert_eq!(gateway.media_doors(), []);
    assert_eq!(gateway.signalling_doors(), []);
}

/// Bytes without sense, the same ones each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
