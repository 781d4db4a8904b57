//! Registrations: which contacts a registrar has accepted, and for how long.
//!
//! A REGISTER on its way out only maps its contacts. Their signalling doors open when the registrar
//! says 2xx, for the lifetime that it grants (RFC 3261 section 10.3), and close when that ends.

mod kept;
mod shown;

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use crate::config::Resource;
use crate::door::DoorKind;
use crate::event::{Event, Timed};
use crate::fixup::expires_of;
use crate::health::{Leak, RegistrationView, Unreachable};
use crate::kept::{At, Table};
use crate::nat::{Context, MappingId, Nat};
use crate::outbox::Outbox;
use crate::sip::{Index, Name, parse_decimal, uri};
use crate::time::Instant;
use crate::timer::{Armed, Key};
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash, Hasher};
use core::time::Duration;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use shown::{About, Of, Shown, cut};
use smallvec::SmallVec;

/// Mappings, with room for the usual number, so that a REGISTER asks for no memory.
type Mappings = SmallVec<[MappingId; 4]>;

/// A text, the same way.
type Text = SmallVec<[u8; 64]>;

/// A REGISTER that waits for its final response.
#[derive(Debug)]
struct Pending {
    host: Ipv4Addr,
    cseq: u32,
    /// The hash of its address-of-record.
    aor: u64,
    contacts: Mappings,
    /// The host's own addresses in its Path (RFC 3327): its registrations come that way.
    paths: Mappings,
    /// `Contact: *`: all contacts are taken back.
    all: bool,
    armed: Armed,
    /// For whoever asks: the address-of-record, and who is asked.
    text: Text,
    registrar: SocketAddrV4,
}

/// A contact that a registrar has accepted.
#[derive(Debug)]
struct Registration {
    host: Ipv4Addr,
    /// Its mapping.
    at: At,
    until: Instant,
    /// The flow that it came by.
    flow: u64,
    /// When the kernel forgets its door, unless it is told of it again.
    forgotten: Instant,
    armed: Armed,
    about: About,
}

/// A REGISTER request as far as it matters here.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its Call-ID.
    pub call_id: &'a [u8],
    /// Its CSeq number.
    pub cseq: u32,
    /// Its To, the address-of-record.
    pub to: &'a [u8],
    /// The host's own contacts in it.
    pub contacts: &'a [MappingId],
    /// The host's own addresses in its Path.
    pub paths: &'a [MappingId],
    /// Whether its Contact is `*`.
    pub all: bool,
    /// Who is asked.
    pub registrar: SocketAddrV4,
    /// An address in it that leads nowhere.
    pub leak: Option<Leak>,
}

/// A final response to a REGISTER, as it came from outside.
#[derive(Debug)]
pub struct Response<'a> {
    /// Its status code.
    pub status: u16,
    /// Its CSeq number.
    pub cseq: u32,
    /// The whole message.
    pub message: &'a [u8],
    /// Where its fields are.
    pub index: &'a Index,
    /// A name of the flow that it came by, never used again.
    pub flow: u64,
}

/// The registrations and those under way.
#[derive(Debug)]
pub struct Registrations {
    pending: Table<u64, Pending>,
    confirmed: Table<(MappingId, u64), Registration>,
    /// How many live on each flow that one lives on.
    on_flow: HashMap<u64, u32, FixedState>,
    peak: usize,
    state: FixedState,
    shown: Shown,
}

impl Registrations {
    /// None.
    pub fn new(seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        Registrations {
            pending: Table::new(state.clone()),
            confirmed: Table::new(state.clone()),
            on_flow: HashMap::with_hasher(state.clone()),
            peak: 0,
            state,
            shown: Shown::default(),
        }
    }

    /// How many are confirmed.
    pub fn len(&self) -> usize {
        self.confirmed.len()
    }

    /// How many were confirmed at most.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// Whether a registration lives on the flow of that name.
    pub fn live_on(&self, flow: u64) -> bool {
        self.on_flow.contains_key(&flow)
    }

    /// `host` asks a registrar to register.
    pub fn request(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        host: Ipv4Addr,
        request: &Request<'_>,
        out: &mut Outbox,
    ) {
        let key = self.hash(request.call_id, host);
        let again = self.pending.has(&key);
        let at = (cx.now, cx.config);
        if !again
            && !cx
                .admission
                .admits(at, Resource::Registration, host, 1, out)
        {
            cx.counters.registrations_full += 1;
            return;
        }
        cx.admission
            .take(cx.config, Resource::Registration, host, 1);
        for mapping in request.contacts.iter().chain(request.paths) {
            nat.hold(cx, *mapping);
            let closed = nat.door(*mapping).is_none();
            let tcp = nat.get(*mapping).filter(|m| m.protocol == Protocol::Tcp);
            out.awaited.extend(tcp.filter(|_| closed).map(|m| m.global));
        }
        let pending = Pending {
            host,
            cseq: request.cseq,
            aor: self.hash(aor_of(request.to), host),
            contacts: Mappings::from_slice(request.contacts),
            paths: Mappings::from_slice(request.paths),
            all: request.all,
            armed: Armed::default(),
            text: Text::from_slice(cut(aor_of(request.to))),
            registrar: request.registrar,
        };
        if let Some(leak) = request.leak {
            let aor = aor_of(request.to);
            self.shown.unreachable(cx.now, host, aor, leak);
        }
        if let Some(before) = self.pending.insert(key, pending) {
            cx.admission.give(Resource::Registration, host, 1);
            self.forget(cx, nat, key, before);
        }
        if let Some(pending) = self.pending.get_mut(&key) {
            let at = cx.now + cx.config.timers.transaction;
            cx.timers.arm(&mut pending.armed, Key::Pending(key), at);
        }
    }

    /// A registrar's final response to a REGISTER of `host`, as it came from outside.
    pub fn response(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        host: Ipv4Addr,
        response: &Response<'_>,
        out: &mut Outbox,
    ) {
        let (message, index) = (response.message, response.index);
        let key = self.hash(index.first(message, Name::CallId).unwrap_or_default(), host);
        if self
            .pending
            .get(&key)
            .is_none_or(|pending| pending.cseq != response.cseq)
        {
            return;
        }
        let Some(pending) = self.pending.remove(&key) else {
            return;
        };
        cx.admission.give(Resource::Registration, host, 1);
        if (200..300).contains(&response.status) {
            if pending.all {
                self.unregister_all(cx, nat, host, pending.aor, out);
            }
            // RFC 3261 section 10.2.4: what was asked for is no grant.
            let of = Of {
                host,
                flow: response.flow,
                registrar: pending.registrar,
                aor: &pending.text,
            };
            let default = cx.config.timers.registration.as_secs();
            for contact in &pending.contacts {
                let global = nat.get(*contact).map(|mapping| mapping.global);
                let granted = granted(message, index, default)
                    .find(|(contact, _)| *contact == global)
                    .map_or(0, |(_, seconds)| seconds);
                let name = (*contact, pending.aor);
                self.confirm(cx, nat, of, name, granted, out);
            }
            // Whoever's contacts they are, they are reached by the path.
            let longest = granted(message, index, default).map(|(_, seconds)| seconds);
            let longest = longest.max().unwrap_or(0);
            for path in &pending.paths {
                self.confirm(cx, nat, of, (*path, pending.aor), longest, out);
            }
        }
        self.forget(cx, nat, key, pending);
    }

    /// A REGISTER was never answered.
    pub fn pending_expired(&mut self, cx: &mut Context<'_>, nat: &mut Nat, key: u64) {
        if let Some(mut pending) = self.pending.remove(&key) {
            pending.armed.came();
            cx.admission.give(Resource::Registration, pending.host, 1);
            self.forget(cx, nat, key, pending);
        }
    }

    /// A registration's time is over.
    pub fn expired(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        mapping: MappingId,
        aor: u64,
        out: &mut Outbox,
    ) {
        if let Some(gone) = self.confirmed.remove(&(mapping, aor)) {
            self.leaves(gone.flow);
            cx.admission.give(Resource::Registration, gone.host, 1);
            self.shown.expired(cx.now, gone.view(nat, mapping));
            nat.close_door(cx, mapping, out);
        }
    }

    /// The registrar granted `seconds`, or took the contact back with 0.
    fn confirm(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        of: Of<'_>,
        name: (MappingId, u64),
        seconds: u64,
        out: &mut Outbox,
    ) {
        let (Of { host, flow, .. }, (mapping, aor)) = (of, name);
        if seconds == 0 {
            if let Some(mut gone) = self.confirmed.remove(&name) {
                cx.timers
                    .disarm(&mut gone.armed, Key::Registration(mapping.0, aor));
                self.leaves(gone.flow);
                cx.admission.give(Resource::Registration, gone.host, 1);
                nat.close_door(cx, mapping, out);
            }
            return;
        }
        let lifetime =
            Duration::from_secs(seconds.min(LONGEST)) + cx.config.timers.registration_grace;
        let until = cx.now + lifetime;
        // The kernel's own timeout is the longer one, so that it never closes before we do.
        let kept = lifetime + cx.config.timers.registration_grace;
        let mut forgotten = cx.now + kept;
        let before = self.confirmed.get(&name);
        let refreshed = before.is_some();
        if let Some(before) = before {
            // The kernel need not hear of each REGISTER of who registers every other second.
            match (until..=forgotten).contains(&before.forgotten) {
                true => forgotten = before.forgotten,
                false => nat.refresh_door(mapping, kept, out),
            }
        } else if !cx
            .admission
            .admits((cx.now, cx.config), Resource::Registration, host, 1, out)
        {
            cx.counters.registrations_full += 1;
            return;
        } else {
            cx.admission
                .take(cx.config, Resource::Registration, host, 1);
            // Another line has it: its time counts from when that one was registered.
            let shared = nat.door(mapping).is_some_and(|door| door.lifetime >= kept);
            nat.open_door(cx, mapping, DoorKind::Signalling, kept, out);
            if shared {
                nat.refresh_door(mapping, kept, out);
            }
            cx.counters.registrations += 1;
        }
        let Some(at) = nat
            .get(mapping)
            .map(|mapping| (mapping.protocol, mapping.local))
        else {
            return;
        };
        let granted = Duration::from_secs(seconds.min(LONGEST));
        let (shown, now) = (&mut self.shown, cx.now);
        let entry = self.confirmed.get_or_insert(name, || Registration {
            host,
            at,
            until,
            flow,
            forgotten,
            armed: Armed::default(),
            about: shown.begins(now, at.1, &of, granted),
        });
        (entry.until, entry.forgotten) = (until, forgotten);
        entry.about.renewed(of.registrar, granted);
        let before = core::mem::replace(&mut entry.flow, flow);
        cx.timers
            .arm(&mut entry.armed, Key::Registration(mapping.0, aor), until);
        *self.on_flow.entry(flow).or_insert(0) += 1;
        self.peak = self.peak.max(self.confirmed.len());
        if refreshed {
            self.leaves(before);
        }
        out.detail(|| Event::Timer {
            of: Timed::Registration,
            left: lifetime,
        });
    }

    fn unregister_all(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        host: Ipv4Addr,
        aor: u64,
        out: &mut Outbox,
    ) {
        let gone: Vec<MappingId> = nat
            .list()
            .into_iter()
            .map(|(id, _)| id)
            .filter(|id| {
                self.confirmed
                    .get(&(*id, aor))
                    .is_some_and(|r| r.host == host)
            })
            .collect();
        for mapping in gone {
            let of = Of {
                host,
                flow: 0,
                registrar: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
                aor: &[],
            };
            self.confirm(cx, nat, of, (mapping, aor), 0, out);
        }
    }

    /// One registration less lives on a flow.
    fn leaves(&mut self, flow: u64) {
        if let Some(count) = self.on_flow.get_mut(&flow) {
            *count -= 1;
            if *count == 0 {
                self.on_flow.remove(&flow);
            }
        }
    }

    fn forget(&mut self, cx: &mut Context<'_>, nat: &mut Nat, key: u64, mut pending: Pending) {
        cx.timers.disarm(&mut pending.armed, Key::Pending(key));
        for mapping in pending.contacts.into_iter().chain(pending.paths) {
            nat.release(cx, mapping);
        }
    }

    /// Those that live, in the order of inside local addresses, and then the last that have expired.
    pub fn views(&self, nat: &Nat) -> Vec<RegistrationView> {
        let live = self.confirmed.iter();
        let live = live.map(|((mapping, _), of)| of.view(nat, *mapping));
        let mut views: Vec<_> = live.collect();
        views.sort_by(|one, other| {
            (one.inside_local, &one.aor).cmp(&(other.inside_local, &other.aor))
        });
        views.extend(self.shown.gone().cloned());
        views
    }

    /// The last contacts that registrars were told and that lead nowhere.
    pub fn unreachable(&self) -> impl Iterator<Item = &Unreachable> {
        self.shown.unreachables()
    }

    fn hash(&self, text: &[u8], host: Ipv4Addr) -> u64 {
        let mut hasher = self.state.build_hasher();
        text.hash(&mut hasher);
        host.hash(&mut hasher);
        hasher.finish()
    }
}

/// Longer than any registrar grants: keeps sums of time in bounds.
const LONGEST: u64 = 7 * 24 * 3600;

/// What the response grants to each contact: its own `expires`, else the Expires field, else the
/// default. A contact that the response does not list has been taken back.
fn granted<'a>(
    message: &'a [u8],
    index: &'a Index,
    default: u64,
) -> impl Iterator<Item = (Option<SocketAddrV4>, u64)> + use<'a> {
    let field = index.first(message, Name::Expires).and_then(parse_decimal);
    index
        .all(Name::Contact)
        .flat_map(|field| uri::values(message, field.value.clone()))
        .filter_map(|value| uri::address(message, value))
        .map(move |address| {
            let at = uri::uri_host(message, address.uri).map(|target| {
                let port = target.host.port.unwrap_or(target.default_port());
                SocketAddrV4::new(target.host.address, port)
            });
            let seconds = expires_of(message, address.parameters).or(field);
            (at, seconds.unwrap_or(default))
        })
}

/// The URI of a To value: the address-of-record without its display name and tag.
fn aor_of(to: &[u8]) -> &[u8] {
    uri::address(to, 0..to.len())
        .and_then(|address| to.get(address.uri))
        .unwrap_or(to)
}
