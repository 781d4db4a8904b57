//! What a door costs does not depend on how many there are.

use crate::harness::call::office;
use crate::harness::gateway::Gateway;
use crate::harness::net::{Net, inside_address};
use crate::harness::sip::{Dialogue, Peer, Server, answer, session};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// How many doors are open where there are many.
const MANY: usize = 10_000;
/// How many where there are few.
const FEW: usize = 10;
/// How often it is measured.
const TIMES: usize = 300;
/// What a door may cost among many, compared with few.
const MOST: f64 = 1.5;

/// Media in a message; each has two doors.
const MEDIA: usize = 5;

#[test]
fn among_ten_thousand_doors_a_call_costs_no_more_than_among_ten() {
    let nets = [Net::new(), Net::new()];
    let hosts = nets.each_ref().map(|net| (net.inside(3), net.outside(2)));
    let mut gateways = nets.each_ref().map(Gateway::start);
    let mut lines = hosts.each_ref().map(|(phone, far)| {
        let server = Server::listen(far, office());
        let any = SocketAddrV4::new(inside_address(3), 0);
        let near = Peer::connect(phone, any, office()).expect("a connection");
        (near, server.accept())
    });
    for (line, doors) in lines.iter_mut().zip([FEW, MANY]) {
        for call in 0..doors / MEDIA / 2 {
            answered(line, call);
        }
    }
    let open = gateways
        .each_ref()
        .map(|gateway| gateway.media_doors().len());
    assert_eq!(open, [FEW, MANY]);
    // In turn, so that whatever else the machine does is the same to both.
    let (mut times, mut efforts) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for call in 0..TIMES {
        for (at, line) in lines.iter_mut().enumerate() {
            let before = spent(&mut gateways[at]);
            times[at].push(refused(line, call));
            efforts[at].push(spent(&mut gateways[at]) - before);
        }
    }
    let [few, many] = times.map(undisturbed);
    let [effort, effort_many] = efforts.map(undisturbed);
    let told = format!(
        "a call took {few:?} and {effort:?} of the gateway among {FEW} doors, and {many:?} and \
         {effort_many:?} among {MANY}"
    );
    println!("{told}");
    assert!(many.as_secs_f64() < few.as_secs_f64() * MOST, "{told}");
    assert!(
        effort_many.as_secs_f64() < effort.as_secs_f64() * MOST,
        "{told}"
    );
}

/// The lower quartile: what it takes when nobody else, and no work of once in a while, comes between.
fn undisturbed(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[TIMES / 4]
}

/// A call that stays.
fn answered((near, far): &mut (Peer, Peer), call: usize) {
    let said = said("stays", call);
    let first = 20_000 + call * MEDIA * 2;
    near.send(said.invite_with(1, &media(first)));
    let invite = far.message();
    far.send(answer(&invite, "200 OK", "", &media(first)));
    near.message();
    near.send(said.request("ACK", 1, ""));
    far.message();
}

/// A call that is refused: how long until everybody knew.
fn refused((near, far): &mut (Peer, Peer), call: usize) -> Duration {
    let said = said("goes", call);
    let invite = said.invite(1, SocketAddrV4::new(inside_address(3), 4000));
    let ack = said.request("ACK", 1, "");
    let began = Instant::now();
    near.send(invite);
    let invite = far.message();
    far.send(answer(&invite, "486 Busy Here", "", ""));
    near.message();
    near.send(ack);
    far.message();
    began.elapsed()
}

fn said(what: &str, call: usize) -> Dialogue {
    let own = SocketAddrV4::new(inside_address(3), 5060);
    Dialogue::new(&format!("{what}{call}"), own, office())
}

/// A description with media at ports from this one on.
fn media(first: usize) -> String {
    let port = |medium| first + medium * 2;
    let at = SocketAddrV4::new(inside_address(3), port(0) as u16);
    let more = (1..MEDIA).map(|medium| format!("m=audio {} RTP/AVP 0\r\n", port(medium)));
    session(at) + &more.collect::<String>()
}

/// How much processor time a gateway has spent, the kernel's for it included.
fn spent(gateway: &mut Gateway) -> Duration {
    let keeper = gateway.process().pid();
    let children = format!("/proc/{keeper}/task/{keeper}/children");
    let pid = std::fs::read_to_string(children).expect("a worker");
    let pid = pid.trim();
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("its times");
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.expect("nanoseconds"))
}
