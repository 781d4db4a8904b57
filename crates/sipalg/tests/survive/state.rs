//! The worker is killed, and the gateway knows what it knew.

use crate::gateway::{accepted, eventually, global};
use crate::running::Running;
use crate::scene::{Line, PHONE, hears, says};
use nix::sys::signal::{Signal, kill};

laws![
    a_registered_phone_is_reached_at_the_same_port,
    media_never_notices,
    the_configuration_that_was_typed_is_in_force,
    a_message_that_kills_workers_costs_its_own_flow_the_fixup_only,
    a_worker_says_what_it_died_of,
];

fn a_registered_phone_is_reached_at_the_same_port() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let phone = gateway.phone.listen(5070);
    let mut line = Line::open(&gateway, &server, 40_000);
    says(
        &mut line.phone,
        format!(
            "REGISTER sip:10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP {PHONE}:40000;branch=z9hG4bKr\r\n\
             From: <sip:a@x>;tag=1\r\nTo: <sip:a@x>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:a@{PHONE}:5070>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
        )
        .as_bytes(),
    );
    // Dies between the request and its answer, too.
    running.worker_dies();
    let mut heard = vec![0; 2000];
    let length = std::io::Read::read(&mut line.outside, &mut heard).unwrap();
    let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
    assert!(heard.contains("sip:a@10.1.1.1:5070"), "{heard}");
    says(
        &mut line.outside,
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 10.1.1.1:40000;branch=z9hG4bKr\r\n\
          From: <sip:a@x>;tag=1\r\nTo: <sip:a@x>;tag=2\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\
          Contact: <sip:a@10.1.1.1:5070>;expires=600\r\nContent-Length: 0\r\n\r\n",
    );
    hears(&mut line.phone, b"SIP/2.0 200 OK\r\n");
    for port in [45_000, 45_001] {
        let mut caller = gateway.outside.connect(port, global(5070)).unwrap();
        let (mut called, peer, _) = accepted(&phone);
        assert_eq!(peer.port(), port);
        says(&mut caller, b"\0hello");
        hears(&mut called, b"\0hello");
        running.worker_dies();
        says(&mut called, b"\0yes");
        hears(&mut caller, b"\0yes");
    }
}

fn media_never_notices() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    let (phone, outside) = (gateway.phone.udp(7000), gateway.outside.udp(9000));
    let via = |host| format!("Via: SIP/2.0/TCP {host}:40000;branch=z9hG4bKm\r\n");
    let rest = "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: m\r\nCSeq: 1 INVITE\r\n";
    let described = |address: &str, port: u16| {
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\n"
        );
        let length = body.len();
        format!(
            "Contact: <sip:{address}:5060>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let offer = described(PHONE, 7000);
    let invite = format!(
        "INVITE sip:b@10.1.1.2 SIP/2.0\r\n{}{rest}{offer}",
        via(PHONE)
    );
    says(&mut line.phone, invite.as_bytes());
    let mut heard = vec![0; 4000];
    let length = std::io::Read::read(&mut line.outside, &mut heard).unwrap();
    let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
    let port = heard
        .split("m=audio ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let port: u16 = port.unwrap().parse().unwrap();
    let answer = described("10.1.1.2", 9000);
    let ok = format!(
        "SIP/2.0 200 OK\r\n{}{rest}{answer}",
        via(crate::scene::GLOBAL)
    );
    says(&mut line.outside, ok.as_bytes());
    hears(&mut line.phone, b"SIP/2.0 200 OK\r\n");
    // A packet a millisecond, each way, and deaths meanwhile.
    let over = std::sync::atomic::AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let stream = scope.spawn(|| {
            let mut sent = 0_u32;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                sent += 1;
                outside.send_to(&sent.to_be_bytes(), global(port)).unwrap();
                phone
                    .send_to(&sent.to_be_bytes(), gateway.outside.at(9000))
                    .unwrap();
                for (ear, from) in [(&phone, gateway.outside.at(9000)), (&outside, global(port))] {
                    let mut packet = [0; 4];
                    let (_, heard_from) = ear.recv_from(&mut packet).unwrap();
                    assert_eq!(u32::from_be_bytes(packet), sent);
                    assert_eq!(heard_from, from.into());
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            sent
        });
        for _ in 0..20 {
            running.worker_dies();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        stream.join().unwrap()
    });
    assert!(sent > 50, "{sent}");
    // What the machine knows of the call closes its doors.
    let bye = format!(
        "BYE sip:b@10.1.1.2 SIP/2.0\r\n{}From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\n\
         Call-ID: m\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n",
        via(PHONE)
    );
    says(&mut line.phone, bye.as_bytes());
    let ok = format!(
        "SIP/2.0 200 OK\r\n{}From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: m\r\n\
         CSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n",
        via(crate::scene::GLOBAL)
    );
    says(&mut line.outside, ok.as_bytes());
    eventually(|| {
        let doors = running.ask("show ip nat sip doors");
        (!doors.contains(":7000")).then_some(())
    });
}

fn the_configuration_that_was_typed_is_in_force() {
    let (gateway, mut running) = Running::start();
    let output = running
        .console()
        .args(["-c", "configure terminal", "-c", "hostname other"])
        .args(["-c", "ip nat service sip tcp port 5999"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let before = running.ask("show running-config");
    assert!(before.contains("hostname other"), "{before}");
    running.worker_dies();
    assert_eq!(running.ask("show running-config"), before);
    let server = gateway.outside.listen(5999);
    let mut phone = gateway
        .phone
        .connect(40_000, gateway.outside.at(5999))
        .unwrap();
    let (mut outside, ..) = accepted(&server);
    let (said, expected) = Line::outward(40_000, 1);
    says(&mut phone, said.as_bytes());
    hears(&mut outside, expected.as_bytes());
}

fn a_message_that_kills_workers_costs_its_own_flow_the_fixup_only() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut good = Line::open(&gateway, &server, 40_000);
    let mut bad = Line::open(&gateway, &server, 40_001);
    good.works(0);
    bad.works(0);
    let poison = format!(
        "OPTIONS sip:a@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP {PHONE}:40001;branch=z9hG4bKp\r\n\
         X-Sipalg-Test: panic\r\nContent-Length: 0\r\n\r\n"
    );
    says(&mut bad.phone, poison.as_bytes());
    running.wait_for("sipalg: 2 workers in a row died of what 192.168.122.2:40001");
    running.service_is_back();
    // It arrives, unchanged, and so does what follows.
    hears(&mut bad.outside, poison.as_bytes());
    let (said, _) = Line::outward(40_001, 1);
    says(&mut bad.phone, said.as_bytes());
    hears(&mut bad.outside, said.as_bytes());
    good.works(1);
    running.worker_dies();
    says(&mut bad.phone, said.as_bytes());
    hears(&mut bad.outside, said.as_bytes());
    good.works(2);
}

fn a_worker_says_what_it_died_of() {
    let (_gateway, mut running) = Running::start();
    let worker = running.worker();
    kill(worker, Signal::SIGABRT).unwrap();
    running.wait_for(&format!(
        "sipalg: the worker, process {worker}, was killed by SIGABRT"
    ));
    running.service_is_back();
    assert_eq!(running.stop().status.code(), Some(0));
}
