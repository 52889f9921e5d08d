//! What memory a configuration allows, computed before anything is taken.

use std::fmt;
use std::fs;

use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::{DEFERRED_WINDOWS, HEADER_BYTES, INQUIRIES_MAX};
use ringmesh_transport::buffer::Copies;
use ringmesh_transport::tcp;

use super::Settings;

/// A slot of the ring between two cores takes a cache line at most.
pub(crate) const MESH_SLOT_BYTES: u64 = 64;

/// The memory that a configuration allows at most.
///
/// It bounds the bytes of messages, wherever they wait or lie, and the buffers of the core. It does
/// not bound what user code keeps, what [local messages](crate::LocalMessage) hold, which are
/// bounded in number, nor the bookkeeping beside the bytes: some hundred bytes for each actor,
/// task, timer, question, link and kept dead letter, the stacks, and the executor's and the
/// kernel's share of the rings (see `tuning.md` for locked memory).
///
/// The sums are ceilings: every core linked to all it may know, each link stalled at its worst
/// moment, and every mailbox full; a byte that is both in a window and in a mailbox counts twice.
/// A node that meets its load needs far less.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryBudget {
    /// Cores of the node.
    pub cores: u64,
    /// What each core may take.
    pub per_core: CoreMemory,
    /// Links of the node: of each core to those of its node, and to as many others as it may know.
    pub links_max: u64,
    /// What each link may take besides the core's pools.
    pub per_link: LinkMemory,
    /// Links of the large lane: of each core to as many others as it may know.
    pub large_links_max: u64,
    /// What each of them may take besides the core's pools.
    pub per_large_link: LinkMemory,
    /// Links of the control lane: of the control core to that of each other node.
    pub control_links_max: u64,
    /// What each of them may take besides the core's pools.
    pub per_control_link: LinkMemory,
    /// Tunnels of the node on each of two lanes, from each link with another node to each other
    /// core: messages that come
    /// on a link and change cores take them. `links_per_association_max` says how many pairs of
    /// cores share links, but so does that of the peer, and what it sends where: so it does not
    /// bound them.
    pub tunnels_max: u64,
    /// What each tunnel may take besides: as a link whose frames come in one piece.
    pub per_tunnel: LinkMemory,
    /// The same on the large lane.
    pub per_large_tunnel: LinkMemory,
    /// All of it, in bytes.
    pub user_bytes: u64,
    /// Connections of the node: one for each link, and those that have not shown who they are.
    pub connections_max: u64,
    /// The kernel's socket buffers of one connection, both directions, in bytes.
    pub kernel_bytes_per_connection: u64,
    /// The kernel's socket buffers of all connections, in bytes. Not part of `user_bytes`.
    pub kernel_bytes: u64,
}

/// The memory of one core, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreMemory {
    /// Slabs of messages on their way out, those retained for peers included, and what is passed on
    /// without a copy.
    pub outgoing_bytes: u64,
    /// The same of the large lane.
    pub large_outgoing_bytes: u64,
    /// The same of the control lane.
    pub control_outgoing_bytes: u64,
    /// Receive buffers: the shared ones and the large ones. Mapped at start, their pages taken at
    /// their first use.
    pub receive_bytes: u64,
    /// The rings from this core to the others.
    pub mesh_bytes: u64,
    /// Buffers for copies of messages that wait, which are used again. Taken at their first use.
    pub copy_bytes: u64,
    /// The mailboxes of as many actors as the core may hold.
    pub mailbox_bytes: u64,
    /// The mailbox of one actor; a part of `mailbox_bytes`.
    pub bytes_per_mailbox: u64,
}

/// The memory of one link, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkMemory {
    /// Received, and not yet taken by its handler.
    pub window_bytes: u64,
    /// What a peer may be granted besides, while messages wait beyond the bounds of mailboxes.
    pub held_bytes: u64,
    /// A frame that arrives in pieces; a buffer that grows takes up to twice the frame.
    pub assembly_bytes: u64,
    /// Answers that wait for credit.
    pub answer_bytes: u64,
}

impl CoreMemory {
    fn total(&self) -> u64 {
        let Self {
            outgoing_bytes,
            large_outgoing_bytes,
            control_outgoing_bytes,
            receive_bytes,
            mesh_bytes,
            copy_bytes,
            mailbox_bytes,
            ..
        } = self;
        [
            large_outgoing_bytes,
            control_outgoing_bytes,
            receive_bytes,
            mesh_bytes,
            copy_bytes,
            mailbox_bytes,
        ]
        .into_iter()
        .fold(*outgoing_bytes, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl LinkMemory {
    fn total(&self) -> u64 {
        self.window_bytes
            .saturating_add(self.held_bytes)
            .saturating_add(self.assembly_bytes)
            .saturating_add(self.answer_bytes)
    }
}

/// How large the kernel lets the buffers of one socket grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers {
    /// The send buffer, in bytes.
    pub send_bytes: u64,
    /// The receive buffer, in bytes.
    pub receive_bytes: u64,
}

impl Default for SocketBuffers {
    /// What Linux allows on hosts with memory to spare.
    fn default() -> Self {
        Self {
            send_bytes: 4 << 20,
            receive_bytes: 6 << 20,
        }
    }
}

impl SocketBuffers {
    /// What this host allows: the third numbers of `net.ipv4.tcp_wmem` and `net.ipv4.tcp_rmem`.
    /// The default where they cannot be read.
    pub fn of_host() -> Self {
        let most = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
            text.split_whitespace().nth(2)?.parse().ok()
        };
        let default = Self::default();
        Self {
            send_bytes: most("tcp_wmem").unwrap_or(default.send_bytes),
            receive_bytes: most("tcp_rmem").unwrap_or(default.receive_bytes),
        }
    }
}

/// The memory that `settings` allow, on a host that lets the buffers of a socket grow to `sockets`.
pub fn memory_budget(settings: &Settings, sockets: SocketBuffers) -> MemoryBudget {
    let transport = tcp::Settings::default();
    let cores = settings.cores as u64;
    let shared = u64::from(transport.receive_buffers) * u64::from(transport.receive_buffer_bytes);
    let bulk = transport.bulk_buffers as u64 * u64::from(transport.bulk_buffer_bytes);
    let bytes_per_mailbox = settings.mailbox_bytes_max as u64;
    let others = cores.saturating_sub(1);
    let outgoing = |lane| settings.of_lane(lane).outgoing_bytes_max as u64;
    let per_core = CoreMemory {
        outgoing_bytes: outgoing(Lane::Ordinary),
        large_outgoing_bytes: outgoing(Lane::Large),
        control_outgoing_bytes: outgoing(Lane::Control),
        receive_bytes: shared + bulk,
        mesh_bytes: others
            .saturating_mul(settings.mesh_slots as u64)
            .saturating_mul(MESH_SLOT_BYTES),
        copy_bytes: Copies::BYTES_MAX as u64,
        mailbox_bytes: bytes_per_mailbox.saturating_mul(settings.actors_max as u64),
        bytes_per_mailbox,
    };
    let [per_control_link, per_link, per_large_link] =
        Lane::ALL.map(|lane| LinkMemory::of_lane(settings, lane));
    let tunnel = |link: &LinkMemory| LinkMemory {
        assembly_bytes: 0,
        // Half a window of what is held costs no credit there.
        held_bytes: link.held_bytes.saturating_add(link.window_bytes / 2),
        ..link.clone()
    };
    let (per_tunnel, per_large_tunnel) = (tunnel(&per_link), tunnel(&per_large_link));
    // Each core has a link to every core of its node, itself included, and to so many others.
    let control_links_max = settings.peers_max as u64;
    let remote = cores.saturating_mul(control_links_max);
    let links_max = remote.saturating_add(cores.saturating_mul(cores));
    // Half open ones, and those on which each core asks about diallers.
    let inquiries = cores.saturating_mul(INQUIRIES_MAX as u64);
    let half_open = inquiries.saturating_add(settings.half_open_max as u64);
    let tunnels_max = remote.saturating_mul(others);
    let open = cores.saturating_mul(transport.connections_max.into());
    let of_links = remote.saturating_mul(2).saturating_add(control_links_max);
    let connections_max = of_links.saturating_add(half_open).min(open);
    let kernel_bytes_per_connection = sockets.send_bytes.saturating_add(sockets.receive_bytes);
    let all = |count: u64, each: &LinkMemory| count.saturating_mul(each.total());
    let user_bytes = [
        all(links_max, &per_link),
        all(remote, &per_large_link),
        all(control_links_max, &per_control_link),
        all(tunnels_max, &per_tunnel),
        all(tunnels_max, &per_large_tunnel),
    ];
    MemoryBudget {
        cores,
        user_bytes: user_bytes
            .into_iter()
            .fold(cores.saturating_mul(per_core.total()), u64::saturating_add),
        per_core,
        links_max,
        per_link,
        large_links_max: remote,
        per_large_link,
        control_links_max,
        per_control_link,
        tunnels_max,
        per_tunnel,
        per_large_tunnel,
        connections_max,
        kernel_bytes_per_connection,
        kernel_bytes: connections_max.saturating_mul(kernel_bytes_per_connection),
    }
}

impl LinkMemory {
    fn of_lane(settings: &Settings, lane: Lane) -> Self {
        let of_lane = settings.of_lane(lane);
        let window = u64::from(of_lane.window_bytes);
        Self {
            window_bytes: window,
            held_bytes: window / 2,
            assembly_bytes: 2 * (u64::from(of_lane.body_cap) + HEADER_BYTES as u64),
            answer_bytes: window * u64::from(DEFERRED_WINDOWS),
        }
    }
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = &self.per_core;
        writeln!(
            f,
            "memory, per core (of {}): outgoing messages up to {}, large ones {} and those of the \
             control lane {} besides, receive buffers {}, rings to other cores {}, copies {}, each \
             mailbox up to {}",
            self.cores,
            Size(core.outgoing_bytes),
            Size(core.large_outgoing_bytes),
            Size(core.control_outgoing_bytes),
            Size(core.receive_bytes),
            Size(core.mesh_bytes),
            Size(core.copy_bytes),
            Size(core.bytes_per_mailbox),
        )?;
        self.per_link.print(f, "")?;
        self.per_large_link.print(f, " of the large lane")?;
        self.per_control_link.print(f, " of the control lane")?;
        if self.tunnels_max > 0 {
            let both = self.per_tunnel.total() + self.per_large_tunnel.total();
            writeln!(
                f,
                "memory, per tunnel from a link to another core: up to {}, {} of the large lane, \
                 with all {} of each {}",
                Size(self.per_tunnel.total()),
                Size(self.per_large_tunnel.total()),
                self.tunnels_max,
                Size(self.tunnels_max.saturating_mul(both)),
            )?;
        }
        writeln!(
            f,
            "memory, ceiling: {} with all {} links and all mailboxes at their bounds",
            Size(self.user_bytes),
            self.links_max + self.large_links_max + self.control_links_max,
        )?;
        write!(
            f,
            "memory of the kernel besides, for socket buffers: up to {} per connection, {} with \
             all {} connections",
            Size(self.kernel_bytes_per_connection),
            Size(self.kernel_bytes),
            self.connections_max,
        )
    }
}

impl LinkMemory {
    /// One line of it.
    fn print(&self, f: &mut fmt::Formatter<'_>, of_lane: &str) -> fmt::Result {
        writeln!(
            f,
            "memory, per link{of_lane}: window {}, a frame in pieces {}, waiting answers {}: up to \
             {}",
            Size(self.window_bytes),
            Size(self.assembly_bytes),
            Size(self.answer_bytes),
            Size(self.total()),
        )
    }
}

/// Bytes for people, in the largest unit of which there is at least one.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let Self(bytes) = *self;
        if bytes < 1024 {
            return write!(f, "{bytes} B");
        }
        let power = (bytes.ilog2() / 10).min(units.len() as u32);
        let unit = units[power as usize - 1];
        let (whole, rest) = (bytes >> (10 * power), bytes & ((1 << (10 * power)) - 1));
        if rest == 0 {
            return write!(f, "{whole} {unit}");
        }
        let tenths = (u128::from(bytes) * 10) >> (10 * power);
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKETS: SocketBuffers = SocketBuffers {
        send_bytes: 1000,
        receive_bytes: 24,
    };

    fn small() -> Settings {
        let mut settings = Settings::new("demo");
        settings.cores = 3;
        settings.outgoing_bytes_max = 8 << 20;
        settings.large_outgoing_bytes_max = 16 << 20;
        settings.mesh_slots = 16;
        settings.actors_max = 10;
        settings.mailbox_bytes_max = 1 << 20;
        settings.window_bytes = 1 << 20;
        settings.frame_bytes_max = 256 << 10;
        settings.peers_max = 2;
        settings.half_open_max = 4;
        settings
    }

    #[test]
    fn the_sums_are_those_of_the_parts() {
        let budget = memory_budget(&small(), SOCKETS);
        let copies = Copies::BYTES_MAX as u64;
        let core = (28 << 20) + (6 << 20) + 2 * 16 * 64 + copies + (10 << 20);
        assert_eq!(budget.per_core.total(), core);
        let link = (3 << 19) + 2 * ((256 << 10) + 16) + (4 << 20);
        assert_eq!(budget.per_link.total(), link);
        assert_eq!(budget.links_max, 3 * 2 + 3 * 3);
        // To two others each, from each link with another node.
        assert_eq!(budget.tunnels_max, 3 * 2 * 2);
        let tunnel = (2 << 20) + (4 << 20);
        assert_eq!(budget.per_tunnel.total(), tunnel);
        let large = (6 << 20) + 2 * ((2 << 20) + 16) + (16 << 20);
        assert_eq!(budget.per_large_link.total(), large);
        let control = (3 << 17) + 2 * ((64 << 10) + 16) + (1 << 20);
        assert_eq!(budget.per_control_link.total(), control);
        let large_tunnel = 24 << 20;
        assert_eq!(budget.per_large_tunnel.total(), large_tunnel);
        assert_eq!((budget.large_links_max, budget.control_links_max), (6, 2));
        let links = 15 * link + 6 * large + 2 * control + 12 * (tunnel + large_tunnel);
        assert_eq!(budget.user_bytes, 3 * core + links);
        let inquiries = 3 * INQUIRIES_MAX as u64;
        assert_eq!(budget.connections_max, 2 * 3 * 2 + 2 + 4 + inquiries);
        assert_eq!(budget.kernel_bytes, (18 + inquiries) * 1024);
    }

    #[test]
    fn a_node_of_one_core_has_no_tunnels() {
        let mut settings = small();
        settings.cores = 1;
        let budget = memory_budget(&settings, SOCKETS);
        assert_eq!(budget.tunnels_max, 0);
        assert_eq!(budget.to_string().lines().count(), 6, "{budget}");
        let links = budget.links_max * budget.per_link.total()
            + budget.large_links_max * budget.per_large_link.total()
            + budget.control_links_max * budget.per_control_link.total();
        assert_eq!(budget.user_bytes, budget.per_core.total() + links);
    }

    #[test]
    fn each_setting_that_allows_memory_moves_the_sum() {
        let least = memory_budget(&small(), SOCKETS);
        type Change = fn(&mut Settings);
        let changes: [Change; 11] = [
            |settings| settings.cores += 1,
            |settings| settings.outgoing_bytes_max += 1,
            |settings| settings.mesh_slots *= 2,
            |settings| settings.actors_max += 1,
            |settings| settings.mailbox_bytes_max += 1,
            |settings| settings.window_bytes += 1,
            |settings| settings.frame_bytes_max += 1,
            |settings| settings.peers_max += 1,
            |settings| settings.large_outgoing_bytes_max += 1,
            |settings| settings.large_window_bytes += 1,
            |settings| settings.large_frame_bytes_max += 1,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut settings = small();
            change(&mut settings);
            let more = memory_budget(&settings, SOCKETS);
            assert!(more.user_bytes > least.user_bytes, "change {number}");
        }
        let mut settings = small();
        settings.half_open_max += 1;
        let more = memory_budget(&settings, SOCKETS);
        assert!(more.kernel_bytes > least.kernel_bytes);
    }

    #[test]
    fn the_largest_settings_do_not_overflow() {
        let mut settings = Settings::new("demo");
        settings.cores = usize::MAX;
        settings.outgoing_bytes_max = usize::MAX;
        settings.mesh_slots = usize::MAX;
        settings.actors_max = usize::MAX;
        settings.mailbox_bytes_max = usize::MAX;
        settings.window_bytes = u32::MAX;
        settings.frame_bytes_max = u32::MAX;
        settings.peers_max = usize::MAX;
        settings.half_open_max = usize::MAX;
        assert_eq!(memory_budget(&settings, SOCKETS).user_bytes, u64::MAX);
    }

    #[test]
    fn the_lines_name_sizes_for_people() {
        let text = memory_budget(&small(), SOCKETS).to_string();
        assert_eq!(text.lines().count(), 7, "{text}");
        let tunnels = "up to 6 MiB, 24 MiB of the large lane, with all 12 of each 360 MiB";
        assert!(text.contains(tunnels), "{text}");
        assert!(
            text.contains("outgoing messages up to 8 MiB, large ones 16 MiB and"),
            "{text}"
        );
        assert!(
            text.contains("per link of the large lane: window 4 MiB"),
            "{text}"
        );
        assert!(
            text.contains("per link of the control lane: window 256 KiB"),
            "{text}"
        );
        assert!(
            text.contains("up to 1 KiB per connection, 786 KiB with all 786"),
            "{text}"
        );
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (1 << 20, "1 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), shown);
        }
    }
}
