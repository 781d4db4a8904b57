//! Other inside hosts, and outside hosts, that speak within calls and registrations of a phone.

use super::world::{PHONE, SERVER, World, sdp};
use super::{opened, request, response};
use sipalg_core::{DoorKind, Leg};

const NEIGHBOUR: &str = "192.168.122.4:40001";

/// A phone in a call, and registered.
fn victim() -> World {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let contact = "<sip:a@192.168.122.3:5070;transport=tcp>;expires=600";
    world.say(flow, Leg::Inside, &request("REGISTER", "r", contact, ""));
    let granted = "Contact: <sip:a@10.1.1.1:5070;transport=tcp>;expires=600\r\n";
    world.say(flow, Leg::Outside, &response(200, "REGISTER", "r", granted));
    let text = request(
        "INVITE",
        "c",
        "<sip:a@192.168.122.3:5060;transport=tcp>",
        &sdp("192.168.122.3", 6000),
    );
    world.say(flow, Leg::Inside, &text);
    world.say(flow, Leg::Outside, &response(200, "INVITE", "c", ""));
    assert_eq!(world.doors(DoorKind::Media).len(), 2);
    assert_eq!(world.doors(DoorKind::Signalling).len(), 2);
    world
}

/// Everything with the victim's identifiers that could end or move something of his.
fn forged() -> Vec<(String, bool)> {
    let theirs = "<sip:a@192.168.122.3:5070;transport=tcp>";
    let within = |method, body: &str| {
        let text = request(
            method,
            "c",
            "<sip:a@192.168.122.3:5060;transport=tcp>",
            body,
        );
        text.replace("To: <sip:b@x>", "To: <sip:b@x>;tag=2")
    };
    vec![
        (within("BYE", ""), true),
        (within("CANCEL", ""), true),
        (within("UPDATE", &sdp("192.168.122.3", 7000)), true),
        // By now it has a call of its own of that name.
        (within("INVITE", &sdp("192.168.122.3", 7000)), false),
        // Whose end was agreed to.
        (within("INVITE", &sdp("192.168.122.3", 0)), true),
        (within("ACK", &sdp("192.168.122.3", 7000)), false),
        (
            request("REGISTER", "r", &format!("{theirs};expires=0"), ""),
            false,
        ),
        (request("REGISTER", "r", "*", ""), false),
        (
            request("REGISTER", "r2", &format!("{theirs};expires=600"), ""),
            false,
        ),
        (response(200, "BYE", "c", ""), false),
        (response(486, "INVITE", "c", ""), false),
    ]
}

#[test]
fn a_neighbour_neither_closes_nor_moves_nor_opens_a_door_of_another() {
    let mut world = victim();
    let before = world.alg.doors();
    let flow = world.connect(NEIGHBOUR, SERVER);
    for (text, counted) in forged() {
        let counters = world.alg.counters();
        world.say(flow, Leg::Inside, &text);
        let own = |local: &String| local.starts_with("192.168.122.4:");
        assert_eq!(
            world
                .doors(DoorKind::Media)
                .iter()
                .filter(|d| own(d))
                .count(),
            0
        );
        // The far end agrees to everything.
        for method in ["BYE", "REGISTER", "INVITE", "UPDATE"] {
            for id in ["c", "r", "r2"] {
                let granted = "Contact: <sip:a@10.1.1.1:5070;transport=tcp>;expires=0\r\n";
                world.say(flow, Leg::Outside, &response(200, method, id, granted));
            }
        }
        assert_eq!(world.alg.doors(), before, "{text}");
        let after = world.alg.counters();
        let foreign = after.foreign_requests - counters.foreign_requests;
        assert_eq!(foreign, u64::from(counted), "{text}");
    }
    assert!(world.alg.counters().doors_refused > 0);
}

#[test]
fn an_outside_host_opens_nothing_whatever_it_says() {
    let bodies = [
        sdp("192.168.122.3", 7000),
        sdp("10.1.1.1", 7000),
        sdp("192.168.122.4", 8),
    ];
    let mut texts: Vec<String> = forged().into_iter().map(|(text, _)| text).collect();
    for body in &bodies {
        for method in [
            "INVITE",
            "UPDATE",
            "SUBSCRIBE",
            "REFER",
            "NOTIFY",
            "PRACK",
            "REGISTER",
        ] {
            for host in ["192.168.122.3:7100", "192.168.122.4:7100", "10.1.1.1:7100"] {
                texts.push(request(method, "new", &format!("<sip:a@{host}>"), body));
            }
        }
    }
    for accepted_outside in [false, true] {
        let mut world = victim();
        let flow = match accepted_outside {
            // By the door of the registered contact.
            true => world.connect("10.1.1.99:33333", "10.1.1.1:5070"),
            false => world.connect(PHONE, "10.1.1.66:5060"),
        };
        for text in &texts {
            world.say(flow, Leg::Outside, text);
            assert_eq!(opened(&world), 0, "{text}");
        }
    }
}

#[test]
fn a_host_that_names_the_ports_of_another_does_not_use_up_its_share() {
    let mut world = World::new();
    let flow = world.connect(NEIGHBOUR, SERVER);
    for round in 0..200u16 {
        let vias: String = (0..20)
            .map(|nth| {
                let port = 2000 + round * 20 + nth;
                format!("Via: SIP/2.0/TCP 192.168.122.3:{port};branch=z9hG4bK{port}\r\n")
            })
            .collect();
        world.say(
            flow,
            Leg::Inside,
            &format!(
                "OPTIONS sip:a SIP/2.0\r\n{vias}Contact: <sip:192.168.122.3:9>\r\nl: 0\r\n\r\n"
            ),
        );
    }
    let mappings = world.alg.mappings(world.now);
    let of_victim = mappings
        .iter()
        .filter(|m| m.inside_local.ip().octets()[3] == 3);
    assert_eq!(of_victim.count(), 0);
}
