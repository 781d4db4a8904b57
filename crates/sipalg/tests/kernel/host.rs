//! Coming and going: nothing of the host is changed for good, and nothing half.

use crate::gateway::{Gateway, StateDir, global, media, open, plan, proxy};
use crate::net::enter_new_net;
use sipalg::kernel::ports::Ports;
use sipalg::kernel::{Kernel, KernelError, clean};
use sipalg::netlink::conntrack::Conntrack;
use sipalg::netlink::nft::Nft;
use sipalg::netlink::route::{PolicyRule, Route, RouteEntry};
use sipalg_core::Protocol;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

laws![
    after_removal_everything_is_as_before,
    after_a_crash_cleaning_puts_everything_back,
    after_a_crash_the_next_run_puts_back_what_the_first_one_found,
    a_host_that_forwards_already_goes_on_forwarding,
    starting_twice_is_refused,
    a_plan_that_cannot_be_carried_out_leaves_nothing,
    without_privilege_the_sentence_says_so,
    nft_can_read_the_rules_back,
    the_gateways_own_ports_are_those_of_its_namespace,
];

/// All that we may have touched.
#[derive(PartialEq, Debug)]
pub(crate) struct State {
    tables: Vec<String>,
    rules: Vec<PolicyRule>,
    routes: Vec<RouteEntry>,
    settings: BTreeMap<String, String>,
    connections: usize,
}

pub(crate) fn state() -> State {
    let mut route = Route::open().unwrap();
    let mut settings = BTreeMap::new();
    let mut note = |path: String| {
        let value = std::fs::read_to_string(&path).unwrap();
        settings.insert(path, value);
    };
    note("/proc/sys/net/ipv4/ip_forward".into());
    note("/proc/sys/net/netfilter/nf_conntrack_icmp_timeout".into());
    for entry in std::fs::read_dir("/proc/sys/net/ipv4/conf").unwrap() {
        let interface = entry.unwrap().path();
        for setting in std::fs::read_dir(interface).unwrap() {
            let path = setting.unwrap().path();
            // Some only take writes.
            if std::fs::read(&path).is_ok() {
                note(path.display().to_string());
            }
        }
    }
    State {
        tables: Nft::open().unwrap().tables().unwrap(),
        rules: route.rules().unwrap(),
        routes: route.routes().unwrap(),
        settings,
        connections: Conntrack::open().unwrap().udp().unwrap().len(),
    }
}

/// A host that does not forward, except between two of its interfaces: the kernel changes such
/// settings along with `ip_forward`.
pub(crate) fn peculiar() -> (Gateway, State) {
    let gateway = Gateway::bare();
    let set = |path: &str, value: &str| {
        std::fs::write(format!("/proc/sys/net/ipv4/{path}"), value).unwrap();
    };
    set("ip_forward", "0");
    set("conf/gin3/forwarding", "1");
    set("conf/all/accept_redirects", "0");
    let before = state();
    (gateway, before)
}

fn use_it(gateway: &Gateway, kernel: &mut Kernel) {
    open(kernel, media(gateway.phone.at(4000), 30000));
    let phone = gateway.phone.udp(4000);
    let outside = gateway.outside.udp(7000);
    crate::gateway::heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    assert_ne!(state().connections, 0);
}

fn after_removal_everything_is_as_before() {
    let (gateway, before) = peculiar();
    let mut kernel = gateway.install();
    use_it(&gateway, &mut kernel);
    assert_ne!(state(), before);
    kernel.remove().unwrap();
    assert_eq!(state(), before);
    // And once more from the start.
    gateway.install().remove().unwrap();
    assert_eq!(state(), before);
}

fn after_a_crash_cleaning_puts_everything_back() {
    let (gateway, before) = peculiar();
    let mut kernel = gateway.install();
    use_it(&gateway, &mut kernel);
    drop(kernel);
    assert_ne!(state(), before);
    clean(gateway.state.path()).unwrap();
    assert_eq!(state(), before);
    // Nothing to clean is no error.
    clean(gateway.state.path()).unwrap();
    assert_eq!(state(), before);
}

fn after_a_crash_the_next_run_puts_back_what_the_first_one_found() {
    let (gateway, before) = peculiar();
    let mut kernel = gateway.install();
    use_it(&gateway, &mut kernel);
    drop(kernel);
    // Whatever happens to the settings in between.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    let mut kernel = gateway.install();
    // Doors of the crashed run are gone with it.
    assert_eq!(kernel.media_counts().unwrap(), []);
    use_it(&gateway, &mut kernel);
    kernel.remove().unwrap();
    assert_eq!(state(), before);
}

fn a_host_that_forwards_already_goes_on_forwarding() {
    let gateway = Gateway::bare();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let before = state();
    gateway.install().remove().unwrap();
    assert_eq!(state(), before);
    assert_eq!(before.settings["/proc/sys/net/ipv4/ip_forward"], "1\n");
}

fn starting_twice_is_refused() {
    let (gateway, kernel) = Gateway::installed();
    let running = state();
    let second = Kernel::install(&plan(), gateway.state.path()).unwrap_err();
    assert!(matches!(second, KernelError::Running(_)), "{second}");
    let cleaned = clean(gateway.state.path()).unwrap_err();
    assert!(matches!(cleaned, KernelError::Running(_)), "{cleaned}");
    assert_eq!(state(), running);
    kernel.remove().unwrap();
}

fn a_plan_that_cannot_be_carried_out_leaves_nothing() {
    let (gateway, before) = peculiar();
    let mut plan = plan();
    plan.outside.push("longer-than-any-interface-name".into());
    let error = Kernel::install(&plan, gateway.state.path()).unwrap_err();
    assert!(matches!(error, KernelError::Refused { .. }), "{error}");
    assert_eq!(state(), before);
    let error = Kernel::adopt(&plan, gateway.state.path(), &[], &[]).unwrap_err();
    assert!(matches!(error, KernelError::Refused { .. }), "{error}");
    assert_eq!(state(), before);
}

fn without_privilege_the_sentence_says_so() {
    let gateway = Gateway::bare();
    let before = state();
    let child = Command::new(std::env::current_exe().unwrap())
        .arg(WITHOUT_PRIVILEGE)
        .arg(gateway.state.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert_eq!(said, format!("{}\n", KernelError::NotPermitted));
    assert_eq!(state(), before);
}

/// On the command line: try to install without privilege, and print the error.
pub(crate) const WITHOUT_PRIVILEGE: &str = "--without-privilege";

/// The child of [`without_privilege_the_sentence_says_so`]. Must run while the process has one
/// thread.
pub(crate) fn try_without_privilege(state_dir: &Path) {
    // In a user namespace of one's own one has no power over a network namespace that is older.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).unwrap();
    println!("{}", Kernel::install(&plan(), state_dir).unwrap_err());
}

fn nft_can_read_the_rules_back() {
    let (gateway, mut kernel) = Gateway::installed();
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    let listed = Command::new("nft")
        .args(["list", "ruleset"])
        .output()
        .expect("nft is installed");
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    for words in [
        "elements = { \"gout\" }",
        "tproxy to 127.0.0.1:15060 ct mark set ct mark | 0x01000000 meta mark set meta mark | 0x01000000 accept",
        "ip daddr . udp dport @media_dn ct mark set ct mark | 0x02000000 dnat ip to ip daddr . udp dport map @media_dn",
        "fib daddr oifname \"gout\" jump source_1_out",
        "udp sport & 65534 == @door_ports jump source_1_renumber",
        "ip saddr & 255.255.254.1 == 192.168.122.0 counter name \"list_1_2\" goto take",
        "10.1.1.1 . 30000",
    ] {
        assert!(text.contains(words), "`{words}` is not in\n{text}");
    }
    let mut check = Command::new("nft")
        .args(["-c", "-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    check
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(
        check.wait().unwrap().success(),
        "nft does not take back\n{text}"
    );
}

fn the_gateways_own_ports_are_those_of_its_namespace() {
    enter_new_net();
    let _state = StateDir::new();
    assert_eq!(Ports::open().unwrap().in_use().unwrap(), []);
    let _proxy = proxy();
    let _udp = std::net::UdpSocket::bind("0.0.0.0:5353").unwrap();
    assert_eq!(
        Ports::open().unwrap().in_use().unwrap(),
        [(Protocol::Tcp, 15060), (Protocol::Udp, 5353)]
    );
}
