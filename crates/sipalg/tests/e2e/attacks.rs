//! Attacks on real sockets: slipstreaming as it was published, neighbours within calls of others, and
//! what is left of a door that has closed.

use crate::harness::call::{Call, office};
use crate::harness::gateway::{CONFIGURATION, Gateway};
use crate::harness::net::{GOUT, Host, Net, inside_address, outside_address};
use crate::harness::sip::{Dialogue, Peer, Server, answer, session};
use crate::harness::{PATIENCE, until};
use socket2::SockRef;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

/// What is smuggled in: a door to the browser's host is asked for.
fn smuggled() -> Vec<String> {
    let browser = SocketAddrV4::new(inside_address(3), 9999);
    let said = Dialogue::new("slip", browser, office());
    vec![
        said.register(1, 600),
        said.invite(2, SocketAddrV4::new(inside_address(3), 7000)),
    ]
}

/// <https://samy.pl/slipstream/>: a form of a web page, sent to a SIP port. The page fills it so that
/// the smuggled message begins a segment.
fn form(filler: usize) -> String {
    let boundary = "----WebKitFormBoundaryhcoAd2iSAx3TJA7A";
    format!(
        "POST / HTTP/1.1\r\nHost: samy.pl:5060\r\nConnection: keep-alive\r\nContent-Length: 6052\r\n\
         Cache-Control: max-age=0\r\nOrigin: http://samy.pl\r\nUpgrade-Insecure-Requests: 1\r\n\
         Content-Type: multipart/form-data; boundary={boundary}\r\n\
         User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like \
         Gecko) Chrome/86.0.4240.111 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,*/*\r\n\
         Referer: http://samy.pl/slipstream/\r\nAccept-Encoding: gzip, deflate\r\n\
         Accept-Language: en-US,en;q=0.9\r\n\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"textname\"\r\n\r\n{}",
        "^_".repeat(filler / 2)
    )
}

/// Version 2, Samy Kamkar and Armis: WebRTC asks a TURN server over TCP (RFC 6062) at any port,
/// with a user name that the page chooses.
fn turn(filler: usize) -> Vec<u8> {
    let length = u16::try_from(filler + 8).expect("a short name");
    let mut request = vec![0, 3];
    request.extend(length.to_be_bytes());
    request.extend([0x21, 0x12, 0xa4, 0x42]);
    request.extend(b"slipstreamed");
    request.extend([0, 6]);
    request.extend(length.to_be_bytes());
    request.resize(request.len() + filler, b'x');
    request
}

#[test]
fn slipstreaming_opens_nothing_and_changes_nothing() {
    let net = Net::new();
    let (browser, attacker) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let listener = Server::listen(&attacker, office());
    // The server has the browser's side cut small segments.
    let socket = SockRef::from(listener.socket());
    socket.set_tcp_mss(536).expect("a small segment size");
    socket.set_recv_buffer_size(2048).expect("a small window");
    let mut demoted = 0;
    for message in smuggled() {
        for filler in [0, 535, 1072, 4000] {
            for beginning in [form(filler).into_bytes(), turn(filler)] {
                let any = SocketAddrV4::new(inside_address(3), 0);
                let mut near = Peer::connect(&browser, any, office()).expect("to reach it");
                let mut far = listener.accept();
                near.send(&beginning);
                assert_eq!(far.bytes(beginning.len()), beginning);
                // All that was there has been read, so that this begins a segment.
                near.send(&message);
                let got = far.bytes(message.len());
                assert_eq!(String::from_utf8_lossy(&got), message);
                far.send(answer(&message, "200 OK", "", ""));
                assert!(near.message().starts_with("SIP/2.0 200"));
                demoted += 1;
            }
        }
    }
    assert_eq!(gateway.counter("demoted"), demoted);
    assert_eq!(gateway.counter("doors opened"), 0);
    assert_eq!(
        (gateway.signalling_doors(), gateway.media_doors()),
        (vec![], vec![])
    );
}

#[test]
fn sip_at_the_border_of_an_ip_fragment_opens_nothing_and_changes_nothing() {
    let net = Net::new();
    let (browser, attacker) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let [near, far] = [(&browser, 3), (&attacker, 2)].map(|(host, number)| {
        let at = match number {
            2 => office(),
            _ => SocketAddrV4::new(inside_address(3), 40_000),
        };
        let socket = host.run(|| UdpSocket::bind(at)).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("patience");
        socket
    });
    let mut buffer = [0; 8192];
    near.send_to(&turn(8), office()).expect("to send");
    far.recv(&mut buffer).expect("a datagram");
    let before = gateway.counter("doors opened");
    for message in smuggled() {
        // A fragment has 1480 bytes of a datagram and its header of 8.
        let mut datagram = turn(1472 - 24);
        datagram.extend(message.as_bytes());
        near.send_to(&datagram, office()).expect("to send");
        let length = far.recv(&mut buffer).expect("a datagram");
        assert!(buffer[..length] == datagram, "it was changed");
    }
    assert_eq!(gateway.counter("doors opened"), before);
    assert_eq!(gateway.media_doors(), []);
}

#[test]
fn a_neighbour_neither_ends_nor_moves_a_call_that_others_are_in() {
    let net = Net::new();
    let (phone, neighbour, far) = (net.inside(3), net.inside(4), net.outside(2));
    let (accomplice, gateway) = (net.outside(9), Gateway::start(&net));
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();
    let before = (gateway.media_doors(), gateway.signalling_doors());
    let listener = Server::listen(&accomplice, SocketAddrV4::new(outside_address(9), 5060));
    let any = SocketAddrV4::new(inside_address(4), 0);
    let to = SocketAddrV4::new(outside_address(9), 5060);
    let mut near = Peer::connect(&neighbour, any, to).expect("to reach the accomplice");
    let mut elsewhere = listener.accept();
    // The victim's identifiers, and all that could end or move something.
    let victim = SocketAddrV4::new(inside_address(3), 5060);
    let said = Dialogue::new("call3", victim, office());
    let port = SocketAddrV4::new(inside_address(3), 4000);
    for number in 2..52 {
        for text in [
            said.request("BYE", number, ""),
            said.request("CANCEL", 1, ""),
            said.invite(number, SocketAddrV4::new(inside_address(3), 7000)),
            said.invite_with(number, &session(port).replace("m=audio 4000", "m=audio 0")),
            said.register(number, 0),
            said.register(number, 600),
        ] {
            near.send(&text);
            let got = elsewhere.message();
            elsewhere.send(answer(&got, "200 OK", "", ""));
            near.message();
        }
    }
    let own = |at: &SocketAddrV4| *at.ip() == inside_address(3);
    let media = gateway.media_doors();
    let of_victim: Vec<_> = media.into_iter().filter(|(_, at)| own(at)).collect();
    assert_eq!(of_victim, before.0);
    for door in before.1 {
        assert!(gateway.signalling_doors().contains(&door));
    }
    assert!(gateway.counter("foreign requests") > 0);
    assert!(gateway.counter("doors refused") > 0);
    call.talk();
    call.request_and_agree("BYE", 99);
}

#[test]
fn who_used_a_closed_door_reaches_nobody_and_never_the_next_owners_neighbour() {
    let net = Net::new();
    let (phone, other, far) = (net.inside(3), net.inside(4), net.outside(2));
    let short = format!(
        "{CONFIGURATION}ip nat service sip timeout quarantine 1\nip nat service sip timeout mapping 1\n"
    );
    let gateway = Gateway::start_with(&net, &short);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();
    call.request_and_agree("BYE", 2);
    until("the doors to be gone", || {
        gateway.media_doors().is_empty().then_some(())
    });
    // Its connection was there a moment ago, and it sends on.
    call.far_ear.say(call.door, 5);
    assert!(call.near_ear.hears_nothing(), "by a closed door");
    // The same port is another's now.
    let door = call.door;
    let old = format!("{}:4000", inside_address(3));
    until("the port to be free for another", || {
        let translations = gateway.console("show ip nat translations udp");
        (!translations.contains(&old)).then_some(())
    });
    let mut next = Call::make((&other, 4), &far, 4000);
    assert_eq!(next.door, door);
    next.take();
    call.far_ear.say(door, 5);
    assert!(call.near_ear.hears_nothing(), "the host before");
    assert_eq!(next.near_ear.hear(5).len(), 5, "whose door it is");
    next.talk();
}

#[test]
fn a_phone_that_names_a_port_of_a_service_is_not_reached_there() {
    let net = Net::new();
    let (phone, far, stranger) = (net.inside(3), net.outside(2), net.outside(9));
    let gateway = Gateway::start(&net);
    let listener = Server::listen(&far, office());
    let any = SocketAddrV4::new(inside_address(3), 0);
    let mut near = Peer::connect(&phone, any, office()).expect("to reach the registrar");
    let mut registrar = listener.accept();
    for (number, port) in [(1, 22), (2, 445), (3, 3389), (4, 5900), (5, 8080)] {
        let service = SocketAddrV4::new(inside_address(3), port);
        let at_home = Server::listen(&phone, service);
        let said = Dialogue::new("reg", service, office());
        near.send(said.register(number, 600));
        let request = registrar.message();
        assert!(
            request.contains(&format!("Contact: <sip:alice@{service};")),
            "{request}"
        );
        let contact = format!("Contact: <sip:alice@{GOUT}:{port};transport=tcp>;expires=600\r\n");
        registrar.send(answer(&request, "200 OK", &contact, ""));
        near.message();
        assert_eq!(gateway.signalling_doors(), []);
        assert!(!knocks(&stranger, SocketAddrV4::new(GOUT, port)));
        assert!(at_home.is_left_alone());
    }
    assert_eq!(gateway.counter("doors refused"), 5);
}

#[test]
fn a_datagram_from_the_port_of_a_service_is_ordinary_traffic() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let socket = |host: &Host, at: SocketAddrV4| {
        let socket = host.run(|| UdpSocket::bind(at)).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("patience");
        socket
    };
    let own = SocketAddrV4::new(inside_address(3), 53);
    let (near, there) = (socket(&phone, own), socket(&far, office()));
    let text = Dialogue::new("dns", own, office())
        .over_udp()
        .register(1, 60);
    near.send_to(text.as_bytes(), office()).expect("to send");
    let mut buffer = [0; 4096];
    let (length, from) = there.recv_from(&mut buffer).expect("the datagram");
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), text);
    assert_eq!(from.ip(), GOUT);
    there.send_to(b"answer", from).expect("to send");
    assert_eq!(near.recv(&mut buffer).expect("the answer"), 6);
    assert_eq!(gateway.counter("doors opened"), 0);
}

fn knocks(host: &Host, to: SocketAddrV4) -> bool {
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    Peer::connect_within(host, any, to, std::time::Duration::from_secs(1)).is_ok()
}
