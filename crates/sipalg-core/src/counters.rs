//! What has been counted since the start.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters since the start; each only grows.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter with its name, in the order of their definition.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// What has been counted since `before`.
            #[must_use]
            pub fn since(&self, before: &Counters) -> Counters {
                Counters { $($name: self.$name.saturating_sub(before.$name),)* }
            }
        }
    };
}

counters! {
    /// Whole SIP messages framed.
    messages,
    /// Messages of which at least one byte was rewritten.
    messages_changed,
    /// Messages that left otherwise than they came with their edits: a defect, never seen.
    unproven,
    /// Keep-alives (CRLF between messages).
    keepalives,
    /// Pings that the gateway asked for by itself.
    pings,
    /// Bytes in, both legs.
    bytes_in,
    /// Bytes out, both legs.
    bytes_out,
    /// Flows opened.
    flows,
    /// Connections and flows of datagrams refused because there are too many.
    flows_refused,
    /// Connections closed because they were idle and there was no room.
    idle_closed,
    /// Connections reset because a message was not whole in time.
    slow_resets,
    /// Connections reset because incomplete messages and unsent bytes took too much memory.
    memory_resets,
    /// Reads put off, and datagrams dropped, because a host said too much in a second.
    reads_held_back,
    /// Flows demoted to unchanged pass-through.
    demoted,
    /// Messages on a stream without Content-Length, taken as 0.
    length_missing,
    /// Bodies longer than the limit, passed unchanged.
    body_too_long,
    /// Messages with a body that is encoded or signed, and was left alone.
    bodies_opaque,
    /// Doors opened.
    doors_opened,
    /// Doors closed.
    doors_closed,
    /// Doors refused (port, host or limit).
    doors_refused,
    /// Requests of an inside host within a call that is another's.
    foreign_requests,
    /// Doors that the kernel could not make.
    doors_failed,
    /// Mappings and addresses of pools that ended because nobody used them.
    mappings_expired,
    /// Mappings refused for want of a free port.
    out_of_ports,
    /// Inside hosts refused for want of a free address in their pool.
    pool_exhausted,
    /// Mappings refused by `max-entries`.
    entries_refused,
    /// Calls seen.
    calls,
    /// Registrations confirmed by a registrar.
    registrations,
    /// Connections refused because nothing maps their destination.
    no_target,
    /// Mapping table full.
    mappings_full,
    /// Call table full.
    calls_full,
    /// Registration table full.
    registrations_full,
}
