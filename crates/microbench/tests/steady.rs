//! Laws of the steady state: what has been seen once is passed on without asking for memory.

use sipalg_core::Leg;
use sipalg_core::config::Limits;
use sipalg_core::frame::{Framer, Piece, Scan};
use sipalg_microbench::gateway::Gateway;
use sipalg_microbench::messages::{DISTINCT, answer, invite, register, registered};

/// How often memory is asked for while `work` is done.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

/// One that has seen all messages twice.
fn warm() -> Gateway {
    let mut gateway = Gateway::default();
    for _ in 0..2 {
        gateway = gateway.with_calls();
    }
    gateway
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1, 2]))), 1);
}

#[test]
fn an_invite_is_passed_on_without_asking_for_memory() {
    let (mut gateway, messages) = (warm(), (0..DISTINCT).map(invite).collect::<Vec<_>>());
    let pass = |gateway: &mut Gateway| {
        for message in &messages {
            assert_ne!(gateway.pass(Leg::Inside, message), message.len());
        }
    };
    pass(&mut gateway);
    assert_eq!(allocations(|| pass(&mut gateway)), 0);
}

#[test]
fn an_answer_is_passed_on_without_asking_for_memory() {
    let (mut gateway, messages) = (warm(), (0..DISTINCT).map(answer).collect::<Vec<_>>());
    let pass = |gateway: &mut Gateway| {
        for message in &messages {
            assert_ne!(gateway.pass(Leg::Outside, message), message.len());
        }
    };
    assert_eq!(allocations(|| pass(&mut gateway)), 0);
}

#[test]
fn a_registration_is_refreshed_without_asking_for_memory() {
    let users = || (0..DISTINCT).map(|user| (register(user), registered(user)));
    let messages: Vec<_> = users().collect();
    let mut gateway = warm();
    let pass = |gateway: &mut Gateway| {
        // Less would leave the door as it is.
        gateway.wait(10);
        for (register, registered) in &messages {
            assert_ne!(gateway.pass(Leg::Inside, register), 0);
            assert_ne!(gateway.pass(Leg::Outside, registered), 0);
        }
    };
    pass(&mut gateway);
    pass(&mut gateway);
    assert!(!gateway.out.doors.is_empty(), "its door is refreshed");
    assert_eq!(gateway.alg.registrations().len(), DISTINCT);
    assert_eq!(allocations(|| pass(&mut gateway)), 0);
}

#[test]
fn what_changes_nothing_is_not_recorded_and_asks_for_no_memory() {
    let mut gateway = warm().recorded();
    let messages: Vec<_> = (0..DISTINCT).map(invite).collect();
    let pass = |gateway: &mut Gateway| {
        let mut records = 0;
        for message in &messages {
            gateway.pass(Leg::Inside, message);
            records += gateway.record();
        }
        records
    };
    assert_ne!(pass(&mut gateway), 0, "all is told once");
    let mut records = 0;
    let memory = allocations(|| records = pass(&mut gateway));
    assert_eq!((records, memory), (0, 0));
}

#[test]
fn a_message_in_pieces_is_framed_without_asking_for_memory() {
    let (mut framer, mut scan, limits) = (Framer::default(), Scan::default(), Limits::default());
    let messages = (0..DISTINCT).map(invite).collect::<Vec<_>>();
    let mut pass = |part| {
        let mut whole = 0;
        for part in messages.iter().flat_map(|message| message.chunks(part)) {
            framer.feed(part, &limits, &mut scan, &mut |piece| {
                whole += usize::from(matches!(piece, Piece::Message(_)));
            });
        }
        assert_eq!((whole, framer.memory()), (DISTINCT, 0));
    };
    pass(100);
    assert_eq!(allocations(|| [100, 1, 500].into_iter().for_each(pass)), 0);
}
