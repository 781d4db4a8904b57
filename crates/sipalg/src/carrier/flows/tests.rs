use super::*;
use std::net::Ipv4Addr;

const PHONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 122, 3), 5060);
const GLOBAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 1), 5062);
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 2), 5060);

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn datagram(from: SocketAddrV4, to: SocketAddrV4) -> Datagram {
    Datagram { from, to, tos: 0 }
}

fn opened(flow: u32, accepted: Leg, source: SocketAddrV4, target: SocketAddrV4) -> Opened {
    Opened {
        flow: FlowId(flow),
        source,
        target,
        accepted,
        rule: 0,
    }
}

/// The phone's flow to the server.
fn outward(flows: &mut Flows, now: Instant) -> usize {
    let opened = opened(1, Leg::Inside, GLOBAL, SERVER);
    let timeouts = FlowTimeouts::default();
    flows.add(now, &datagram(PHONE, SERVER), &opened, 0, &timeouts)
}

/// The server's flow to the phone's door.
fn inward(flows: &mut Flows, now: Instant) -> usize {
    let opened = opened(2, Leg::Outside, SERVER, PHONE);
    let timeouts = FlowTimeouts::default();
    flows.add(now, &datagram(SERVER, GLOBAL), &opened, 0, &timeouts)
}

#[test]
fn what_comes_back_belongs_to_the_flow_and_leaves_as_what_was_addressed() {
    for make in [outward, inward] {
        let mut flows = Flows::default();
        let key = make(&mut flows, at(0));
        let found = |flows: &mut Flows, from, to| flows.find(at(1), &datagram(from, to));
        assert_eq!(found(&mut flows, PHONE, SERVER), Some((key, Leg::Inside)));
        assert_eq!(found(&mut flows, SERVER, GLOBAL), Some((key, Leg::Outside)));
        assert_eq!(found(&mut flows, GLOBAL, SERVER), None);
        let flow = flows.get(key).unwrap();
        assert_eq!(flow.way(Leg::Outside), (GLOBAL, SERVER));
        assert_eq!(flow.way(Leg::Inside), (SERVER, PHONE));
    }
}

#[test]
fn a_flow_ends_when_nothing_was_heard_of_it_for_its_time() {
    let mut flows = Flows::default();
    outward(&mut flows, at(0));
    assert_eq!(flows.next_timeout(), Some(at(300)));
    assert!(flows.find(at(200), &datagram(SERVER, GLOBAL)).is_some());
    assert!(flows.expired(at(300)).is_none());
    assert_eq!(flows.next_timeout(), Some(at(500)));
    assert_eq!(flows.expired(at(500)).unwrap().flow, FlowId(1));
    assert_eq!(flows.next_timeout(), None);
    assert_eq!(flows.find(at(500), &datagram(PHONE, SERVER)), None);
    assert_eq!(flows.find(at(500), &datagram(SERVER, GLOBAL)), None);
}

#[test]
fn a_flow_from_outside_lasts_only_once_the_inside_has_answered() {
    let mut flows = Flows::default();
    inward(&mut flows, at(0));
    assert!(flows.find(at(20), &datagram(SERVER, GLOBAL)).is_some());
    assert!(flows.expired(at(32)).is_none());
    assert!(flows.expired(at(52)).is_some());
    inward(&mut flows, at(100));
    assert!(flows.find(at(101), &datagram(PHONE, SERVER)).is_some());
    assert!(flows.expired(at(400)).is_none());
    assert!(flows.expired(at(401)).is_some());
}

#[test]
fn a_port_may_have_an_idle_time_of_its_own_and_never_is_never() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let mut timeouts = FlowTimeouts {
        udp: None,
        ports: vec![(Protocol::Tcp, 5060, seconds(1))],
        ..FlowTimeouts::default()
    };
    let mut flows = Flows::default();
    outward(&mut flows, at(0));
    flows.set_timeouts(&timeouts);
    assert_eq!(flows.next_timeout(), None);
    timeouts.ports.push((Protocol::Udp, 5060, seconds(90)));
    flows.set_timeouts(&timeouts);
    assert_eq!(flows.next_timeout(), Some(at(90)));
}

#[test]
fn outside_hosts_leave_room_for_inside_ones() {
    let mut flows = Flows::default();
    let timeouts = FlowTimeouts::default();
    for number in 0..MOST_FROM_OUTSIDE as u32 {
        assert!(flows.has_room(Leg::Outside));
        let forged = SocketAddrV4::new(Ipv4Addr::from(0x0b00_0000 + number), 5060);
        let opened = opened(number, Leg::Outside, forged, PHONE);
        flows.add(at(0), &datagram(forged, GLOBAL), &opened, 0, &timeouts);
    }
    assert!(!flows.has_room(Leg::Outside));
    assert!(flows.has_room(Leg::Inside));
    assert_eq!(flows.refused(), 1);
    while flows.expired(at(32)).is_some() {}
    assert!(flows.has_room(Leg::Outside));
    assert_eq!(flows.iter().count(), 0);
}

#[test]
fn an_end_that_a_later_flow_took_over_stays_with_it() {
    let mut flows = Flows::default();
    let first = outward(&mut flows, at(0));
    let second = inward(&mut flows, at(0));
    flows.remove(first);
    let found = flows.find(at(0), &datagram(PHONE, SERVER));
    assert_eq!(found, Some((second, Leg::Inside)));
}
