//! A restart loses nothing: neither after a crash of all processes, nor after a clean stop. And no
//! store that is ill keeps the gateway from serving.

use crate::harness::call::Call;
use crate::harness::gateway::{CONFIGURATION, Files, Gateway};
use crate::harness::media::Ear;
use crate::harness::net::{Host, Net, inside_address, outside_address};
use crate::harness::registration::Registration;
use crate::harness::sip::{Peer, Server};
use crate::harness::until;
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

#[test]
fn after_a_crash_of_all_processes_media_never_stopped_and_all_goes_on() {
    let net = Net::new();
    let (phone, other, far) = (net.inside(3), net.inside(4), net.outside(2));
    let gateway = Gateway::start(&net);
    let at_home = Server::listen(&phone, contact(3));
    let line = Registration::make((&phone, contact(3)), (&far, registrar()), 600);
    let short = Registration::make((&other, contact(4)), (&far, short_registrar()), 3);
    assert_ne!(line.global, short.global);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();
    let doors = gateway.media_doors();
    assert_eq!(doors.len(), 2);
    let mappings = mappings(&gateway);
    let talk = Talk::begin(&mut call, &phone, &far);

    stored(&gateway);
    let files = gateway.crash();
    // The rules go on without us; a registration runs out meanwhile.
    talk.heard_more();
    let gateway = Gateway::start_from(&net, files);
    assert!(
        gateway
            .log()
            .contains("1 calls and 2 registrations of before"),
        "{}",
        gateway.log()
    );
    talk.heard_more();
    let (said, heard) = talk.end();
    assert_eq!(
        said, heard,
        "of {said:?} packets either ear heard {heard:?}"
    );

    assert_eq!(gateway.media_doors(), doors);
    assert!(is_reached(&far, line.global, &at_home), "on the same port");
    until("the registration that ran out to end", || {
        (!gateway.signalling_doors().contains(&short.global)).then_some(())
    });
    let now = self::mappings(&gateway);
    let kept: BTreeSet<_> = mappings.intersection(&now).collect();
    assert!(kept.len() >= 3, "{mappings:?} became {now:?}");

    // No port is given twice.
    let second = Call::make_to((&other, 4), (&far, branch_office()), 4000);
    assert_ne!(second.door, call.door);
    assert_ne!(second.door.port(), call.door.port() + 1);
    let globals: Vec<_> = gateway
        .media_doors()
        .iter()
        .map(|(global, _)| *global)
        .collect();
    assert_eq!(globals.iter().collect::<BTreeSet<_>>().len(), globals.len());

    // BYE, by another connection, closes the old call's doors.
    drop(second);
    call.reconnect(&phone, &far);
    call.request_and_agree("BYE", 2);
    until("the call's doors to close", || {
        let open = gateway.media_doors();
        doors.iter().all(|door| !open.contains(door)).then_some(())
    });
}

#[test]
fn a_clean_stop_and_start_keeps_ports_and_calls() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let at_home = Server::listen(&phone, contact(3));
    let line = Registration::make((&phone, contact(3)), (&far, registrar()), 600);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    let doors = gateway.media_doors();
    // At once: what was not written yet is written at the end.
    let files = gateway.stop();
    let gateway = Gateway::start_from(&net, files);
    assert_eq!(gateway.media_doors(), doors);
    assert!(is_reached(&far, line.global, &at_home), "on the same port");
    call.talk();
    call.reconnect(&phone, &far);
    call.request_and_agree("BYE", 2);
    until("the call's doors to close", || {
        gateway.media_doors().is_empty().then_some(())
    });
}

#[test]
fn what_the_runtime_directory_loses_the_store_has() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let at_home = Server::listen(&phone, contact(3));
    let line = Registration::make((&phone, contact(3)), (&far, registrar()), 600);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    let doors = gateway.media_doors();
    stored(&gateway);
    let files = gateway.crash();
    fs::remove_file(files.socket().with_extension("region")).expect("the region");
    let gateway = Gateway::start_from(&net, files);
    assert_eq!(gateway.media_doors(), doors);
    assert!(is_reached(&far, line.global, &at_home), "on the same port");
    call.talk();
}

#[test]
fn twenty_crashes_under_a_load_of_registrations_give_no_port_twice() {
    let net = Net::new();
    let far = net.outside(2);
    let phones: Vec<_> = (3..7).map(|number| (number, net.inside(number))).collect();
    let mut gateway = Gateway::start(&net);
    let mut owners: Vec<(SocketAddrV4, u8)> = Vec::new();
    for round in 0..20 {
        let (number, phone) = &phones[round % phones.len()];
        let port = 5060 + u16::try_from(round / phones.len()).expect("a small number");
        let contact = SocketAddrV4::new(inside_address(*number), port);
        let line = Registration::make((phone, contact), (&far, registrar()), 600);
        let known = owners.iter().find(|(global, _)| *global == line.global);
        assert_eq!(known, None, "given to {contact}");
        owners.push((line.global, *number));
        // At any moment after the answer has left, and before it is in the database, too.
        gateway = Gateway::start_from(&net, gateway.crash());
        let open = gateway.signalling_doors();
        for (global, _) in &owners {
            assert!(open.contains(global), "{global} is lost in round {round}");
        }
    }
}

#[test]
fn a_store_that_makes_no_sense_is_said_and_set_aside_and_calls_are_served() {
    for garbage in ["", "garbage", &"\0".repeat(100_000)] {
        let net = Net::new();
        let files = Files::new(CONFIGURATION);
        fs::create_dir(files.state()).expect("a directory");
        fs::write(files.state().join("store.redb"), garbage).expect("a file");
        let gateway = Gateway::start_from(&net, files);
        let said = gateway.log();
        assert!(
            said.contains("cannot use") && said.contains("store.redb.bad1"),
            "{said}"
        );
        assert!(said.contains("phones have to register again"), "{said}");
        serves(&net, &gateway);
        assert_eq!(
            fs::read(gateway.files().state().join("store.redb.bad1")).expect("the file"),
            garbage.as_bytes()
        );
    }
}

#[test]
fn a_full_disk_is_said_once_and_calls_are_served_and_survive_a_crash() {
    survives_without_its_place(FULL, "No space left on device");
}

#[test]
fn a_disk_that_cannot_be_written_is_said_once_and_calls_are_served_and_survive_a_crash() {
    let read_only = "mount -t tmpfs -o ro none \"$STATE\"";
    survives_without_its_place(read_only, "Read-only file system");
}

#[test]
fn room_on_the_disk_heals_the_store() {
    let net = Net::new();
    let files = Files::new(CONFIGURATION);
    fs::create_dir(files.state()).expect("a directory");
    let make_room = files.folder().join("make-room");
    // The namespace of mounts is the gateway's own: what waits there makes room.
    let prepare = format!(
        "{FULL}; (until test -e {0}; do sleep 0.1; done; \
         mount -o remount,size=64m \"$STATE\"; rm {0}) & ",
        make_room.display()
    );
    let command = prepared(&files, &prepare);
    let mut gateway = Gateway::start_by(&net, files, command);
    gateway.wait_for_log("No space left on device");
    assert!(
        gateway
            .console("show ip nat sip store")
            .contains("Trouble: cannot write")
    );
    fs::write(&make_room, "").expect("a file");
    gateway.wait_for_log("can be written again");
    assert!(!gateway.console("show ip nat sip store").contains("Trouble"));
}

/// Makes the state directory a disk of 64 KiB that has room for one file of 4 KiB.
const FULL: &str =
    "mount -t tmpfs -o size=64k none \"$STATE\" && head -c 60000 /dev/zero > \"$STATE/filler\"";

/// Where the state directory does not work, because of `prepare`, the operator is told why, and calls
/// survive in the runtime directory.
fn survives_without_its_place(prepare: &str, why: &str) {
    let net = Net::new();
    let files = Files::new(CONFIGURATION);
    fs::create_dir(files.state()).expect("a directory");
    let command = prepared(&files, prepare);
    let mut gateway = Gateway::start_by(&net, files, command);
    let said = gateway.wait_for_log(why);
    assert!(
        said.contains("store.redb") && said.contains("--state-dir") | said.contains("make room"),
        "{said}"
    );
    assert!(gateway.console("show ip nat sip store").contains(why));
    let door = serves(&net, &gateway);
    stored(&gateway);
    let files = gateway.crash();
    let command = prepared(&files, prepare);
    let mut gateway = Gateway::start_by(&net, files, command);
    assert!(
        gateway.signalling_doors().contains(&door),
        "{}",
        gateway.log()
    );
    gateway.wait_for_log(&format!("store.redb: {why}"));
    let told = gateway.log().matches("store.redb: ").count();
    assert_eq!(told, 1, "{}", gateway.log());
}

/// The command that runs a gateway in a namespace of mounts of its own, after a preparation by shell.
fn prepared(files: &Files, prepare: &str) -> Command {
    let run = files.run();
    let mut command = Command::new("unshare");
    command.env("STATE", files.state());
    let script = format!("{prepare}\nexec \"$@\"");
    command.args(["--mount", "sh", "-c", &script, "sh"]);
    command.arg(run.get_program()).args(run.get_args());
    command
}

/// A phone can register, and is reached: where.
fn serves(net: &Net, gateway: &Gateway) -> SocketAddrV4 {
    let (phone, far) = (net.inside(3), net.outside(2));
    let at_home = Server::listen(&phone, contact(3));
    let line = Registration::make((&phone, contact(3)), (&far, registrar()), 600);
    assert!(is_reached(&far, line.global, &at_home), "{}", gateway.log());
    line.global
}

/// Waits until the store has all that is known now.
fn stored(gateway: &Gateway) {
    until("the store to be written", || {
        let shown = gateway.console("show ip nat sip store");
        let written = shown.contains(" 0 bytes wait") && !shown.contains(" 0 commits");
        written.then_some(())
    });
}

/// What has which inside global.
fn mappings(gateway: &Gateway) -> BTreeSet<(String, String)> {
    let shown = gateway.console("show ip nat translations");
    let rows = shown.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (_, global, local) = (words.next()?, words.next()?, words.next()?);
        local
            .starts_with("192.168")
            .then(|| (local.into(), global.into()))
    });
    rows.collect()
}

/// Whether a new connection to a global end comes home.
fn is_reached(host: &Host, global: SocketAddrV4, at_home: &Server) -> bool {
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let Ok(mut caller) = Peer::connect(host, any, global) else {
        return false;
    };
    caller.send("\r\n\r\n");
    at_home.accept().bytes(4) == b"\r\n\r\n"
}

fn contact(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(inside_address(number), 5060)
}

fn registrar() -> SocketAddrV4 {
    SocketAddrV4::new(outside_address(2), 8000)
}

fn short_registrar() -> SocketAddrV4 {
    SocketAddrV4::new(outside_address(2), 8000)
}

fn branch_office() -> SocketAddrV4 {
    SocketAddrV4::new(outside_address(2), 8000)
}

/// Two ears that talk without pause, in a thread of their own.
struct Talk {
    over: Arc<AtomicBool>,
    thread: JoinHandle<([usize; 2], [usize; 2])>,
    rounds: mpsc::Receiver<()>,
}

impl Talk {
    /// The ears of a call talk from now on.
    fn begin(call: &mut Call, phone: &Host, far: &Host) -> Self {
        let spare = |host, address| Ear::open(host, SocketAddrV4::new(address, 0));
        let near = spare(phone, inside_address(3));
        let mut near = std::mem::replace(&mut call.near_ear, near);
        let away = spare(far, outside_address(2));
        let mut away = std::mem::replace(&mut call.far_ear, away);
        let door = call.door;
        let over = Arc::new(AtomicBool::new(false));
        let (round, rounds) = mpsc::channel();
        let end = over.clone();
        let thread = thread::spawn(move || {
            let (mut said, mut heard) = ([0; 2], [0; 2]);
            while !end.load(Ordering::Relaxed) {
                near.say(away.at(), 1);
                away.say(door, 1);
                said = said.map(|count| count + 1);
                // A packet each 20 ms, as phones do.
                thread::sleep(Duration::from_millis(20));
                heard = [heard[0] + near.heard(), heard[1] + away.heard()];
                let _ = round.send(());
            }
            thread::sleep(Duration::from_millis(100));
            (said, [heard[0] + near.heard(), heard[1] + away.heard()])
        });
        Talk {
            over,
            thread,
            rounds,
        }
    }

    /// Waits for half a second of talk.
    fn heard_more(&self) {
        for _ in 0..25 {
            let patience = Duration::from_secs(20);
            self.rounds.recv_timeout(patience).expect("a round");
        }
    }

    /// Ends it: how many packets either has said, and heard.
    fn end(self) -> ([usize; 2], [usize; 2]) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("its counts")
    }
}
