//! The table of the keys: all that may be set, in the order it is printed.

use ringmesh_proto::address::check_system;
use ringmesh_proto::limits;

use super::cluster;
use super::key::{Key, Kind, Range};
use super::kinds::{DAY_MS, HOUR_MS, MS, US, from_to, switch, time, units, whole};
use super::peers::{ROLE, VERIFY_PEERS};
use super::placement::{ALLOW, RULES};
use super::shutdown;
use super::texts::{advertise, advertised, control, idle_name, set_control, set_idle};
use super::{IdleMode, PEERS_CEILING};

/// Bodies of frames, in bytes.
const FRAME: Range = from_to(
    limits::FRAME_BYTES_MIN as u64,
    limits::FRAME_BYTES_CEILING as u64,
);

/// Windows of links, in bytes.
const WINDOW: Range = from_to(
    limits::window_bytes_min(limits::FRAME_BYTES_MIN) as u64,
    limits::WINDOW_BYTES_MAX as u64,
);

/// Memory for messages on their way out, in bytes.
const OUTGOING: Range = from_to(192 << 10, 1 << 40);

/// A field that is a number. The range fits the field's type.
macro_rules! number {
    ($field:ident, $unit:literal, $range:expr) => {
        Kind::Number {
            unit: $unit,
            range: $range,
            get: |settings| Some(settings.$field as u64),
            set: |settings, number| settings.$field = number as _,
        }
    };
}

pub(super) static KEYS: [Key; 68] = [
    Key {
        section: "node",
        name: "system",
        meaning: "The name of the cluster, part of every address: peers of another name are \
                  refused. `Engine::node` names it; what stands here replaces that.",
        too_small: "empty is refused.",
        too_large: "more than 64 bytes are refused.",
        kind: Kind::Text {
            form: "the name of a cluster such as \"orders\"",
            get: |settings| settings.system.clone(),
            set: |settings, text| {
                check_system(text).map_err(|error| format!(": {error}"))?;
                text.clone_into(&mut settings.system);
                Ok(())
            },
        },
    },
    Key {
        section: "node",
        name: "bind",
        meaning: "Where the node listens, and which address its dials leave from unless it is \
                  `0.0.0.0` or `[::]`. Port 0 picks a free one.",
        too_small: "an address of the loopback keeps other hosts out.",
        too_large: "`0.0.0.0` and `[::]` let in whoever reaches the host: there is no \
                    authentication yet.",
        kind: Kind::Text {
            form: "an IP address and a port such as \"127.0.0.1:7400\"",
            get: |settings| settings.bind.to_string(),
            set: |settings, text| {
                settings.bind = text.parse().map_err(|_| String::new())?;
                Ok(())
            },
        },
    },
    Key {
        section: "node",
        name: "advertise",
        meaning: "The host and port that peers dial when it is not the bound one (NAT, containers, \
                  all interfaces). Empty: the bound one.",
        too_small: "peers are told an address that they may not reach.",
        too_large: "peers are sent to another host, which refuses them.",
        kind: Kind::Text {
            form: "empty, or a host and a port such as \"db1.example:7400\"",
            get: advertised,
            set: advertise,
        },
    },
    Key {
        section: "node",
        name: "flush_timeout_ms",
        meaning: "How long a stopping node waits for its last bytes to leave, and for its peers to \
                  say goodbye.",
        too_small: "messages on their way are given up, and counted.",
        too_large: "one peer that hangs holds up the end of the process.",
        kind: time!(flush_timeout, "milliseconds", MS, from_to(0, HOUR_MS)),
    },
    Key {
        section: "node",
        name: "peers_max",
        meaning: "Cores of other nodes that each core of this one may know, on each lane.",
        too_small: "dials and strangers beyond it are refused.",
        too_large: "the memory of their links is not bounded sooner.",
        kind: number!(peers_max, "peers", from_to(1, PEERS_CEILING as u64)),
    },
    VERIFY_PEERS,
    ROLE,
    Key {
        section: "node",
        name: "connections_per_source_max",
        meaning: "Connections that may come from one address at one time; more are closed at once. \
                  Of IPv6 the first 64 bits count.",
        too_small: "nodes behind one address, and nodes of many cores, are turned away.",
        too_large: "one address may take all connections that there can be.",
        kind: number!(
            connections_per_source_max,
            "connections",
            from_to(1, 1 << 16)
        ),
    },
    Key {
        section: "node",
        name: "connects_per_second_max",
        meaning: "Connects from one address in the long run, and twice as many at once; more are \
                  closed at once.",
        too_small: "nodes behind one address, and nodes of many cores, take long to come back.",
        too_large: "one that dials without pause costs more.",
        kind: number!(
            connects_per_second_max,
            "connects per second",
            from_to(1, 1 << 24)
        ),
    },
    Key {
        section: "core",
        name: "count",
        meaning: "Cores of the node, each a thread with a ring of its own.",
        too_small: "CPUs lie idle.",
        too_large: "more cores than CPUs make each of them slow; each has its own pools.",
        kind: number!(cores, "cores", from_to(1, 256)),
    },
    Key {
        section: "core",
        name: "cpus",
        meaning: "The CPU of each core, in the order of the cores. Empty: the scheduler places \
                  them.",
        too_small: "fewer than cores are refused; none lets cores move between CPUs and lose \
                    their caches.",
        too_large: "more than cores are refused; a CPU that the process may not use is an error \
                    at start.",
        kind: Kind::Numbers {
            unit: "CPU numbers",
            range: from_to(0, 4095),
            count_max: 256,
            get: |settings| settings.cpus.iter().map(|cpu| *cpu as u64).collect(),
            set: |settings, cpus| {
                settings.cpus = cpus.into_iter().map(|cpu| cpu as usize).collect();
            },
        },
    },
    Key {
        section: "core",
        name: "reserve_control_core",
        meaning: "Whether core 0, the control core, is kept free of actors of the program: \
                  \"on\" or \"off\". It then does the work of the node itself, such as joins, \
                  heartbeats and what else nodes tell each other, and runs the tasks that are \
                  started there, the future given to `run` among them. What `Node::spawn_at` \
                  places \"here\" from such a task lives on another core, with a path that begins \
                  with `/user/remote/`; at the name it was given there is only its stand-in.",
        too_small: "off, a handler that holds core 0 holds up all that.",
        too_large: "on, there is one core less for actors, `Node::spawn` fails on core 0, and a \
                    node of one core does not start.",
        kind: switch!(reserve_control_core),
    },
    Key {
        section: "core",
        name: "idle",
        meaning: "What a core does when there is nothing to do: \"spin\" polls for ever, \
                  \"hybrid\" polls for `hybrid_us` and then sleeps, \"park\" sleeps at once.",
        too_small: "\"park\" pays a wake-up for each burst.",
        too_large: "\"spin\" takes a whole CPU, all the time.",
        kind: Kind::Text {
            form: "\"spin\", \"hybrid\" or \"park\"",
            get: |settings| idle_name(settings.idle).to_owned(),
            set: set_idle,
        },
    },
    Key {
        section: "core",
        name: "hybrid_us",
        meaning: "How long an idle core polls before it sleeps, if `idle` is \"hybrid\"; without \
                  meaning otherwise.",
        too_small: "a wake-up inside a burst of messages.",
        too_large: "CPU time after each burst.",
        kind: Kind::Number {
            unit: "microseconds",
            range: from_to(0, 60_000_000),
            get: |settings| match settings.idle {
                IdleMode::Hybrid(span) => Some(units(span, US)),
                IdleMode::Spin | IdleMode::Park => None,
            },
            set: |settings, number| {
                if let IdleMode::Hybrid(span) = &mut settings.idle {
                    *span = whole(number, US);
                }
            },
        },
    },
    Key {
        section: "core",
        name: "outgoing_bytes_max",
        meaning: "Memory for messages on their way out, per core; at least two windows.",
        too_small: "sends find no room although their links have credit.",
        too_large: "peers that stall hold that much memory.",
        kind: number!(outgoing_bytes_max, "bytes", OUTGOING),
    },
    Key {
        section: "core",
        name: "tasks_max",
        meaning: "Tasks that a core may run, besides the main one.",
        too_small: "`spawn_task` is refused.",
        too_large: "a leak of tasks is noticed late.",
        kind: number!(tasks_max, "tasks", from_to(1, 1 << 24)),
    },
    Key {
        section: "core",
        name: "half_open_max",
        meaning: "Connections of the node that have not become links, at one time, and half as \
                  many from one address; more are closed at once.",
        too_small: "a wave of honest peers has to dial again.",
        too_large: "strangers hold more descriptors, for 2 to 7 s each.",
        kind: number!(half_open_max, "connections", from_to(1, 1 << 16)),
    },
    Key {
        section: "core",
        name: "mesh_slots",
        meaning: "Slots of the ring from each core to each other one.",
        too_small: "a burst between two cores fills the ring, and its sender waits a turn.",
        too_large: "memory that is touched in a circle, and colder caches.",
        kind: number!(
            mesh_slots,
            "slots",
            Range {
                least: 2,
                most: 1 << 16,
                powers_of_two: true,
            }
        ),
    },
    Key {
        section: "link",
        name: "frame_bytes_max",
        meaning: "The largest frame body on the ordinary lane. Larger messages take the large one.",
        too_small: "more messages take the large lane, and lose their order with the others.",
        too_large: "one message holds up those behind it for longer.",
        kind: number!(frame_bytes_max, "bytes", FRAME),
    },
    Key {
        section: "link",
        name: "window_bytes",
        meaning: "How many bytes a peer may send ahead of what was handled here, per link; at \
                  least `frame_bytes_max` and a slab of 65536 bytes.",
        too_small: "senders wait for grants.",
        too_large: "both sides pay this much memory per busy link, and wait longer behind it.",
        kind: number!(window_bytes, "bytes", WINDOW),
    },
    Key {
        section: "link",
        name: "links_per_association_max",
        meaning: "Links that two nodes may have between their cores, on each of the ordinary and \
                  the large lane: the smaller setting of both counts. With more pairs of cores \
                  than that they share links, and messages change cores once at the receiver. \
                  Each core may still have a link with the control core at the other end and one \
                  with another, however small this is.",
        too_small: "more messages change cores.",
        too_large: "many sockets and windows for each peer.",
        kind: number!(links_per_association_max, "links", from_to(1, 1 << 16)),
    },
    Key {
        section: "link",
        name: "send_timeout_ms",
        meaning: "How long a waiting send waits for room, where it does not say so itself.",
        too_small: "a short stall of the peer fails sends.",
        too_large: "tasks wait long for a peer that is gone.",
        kind: time!(send_timeout, "milliseconds", MS, from_to(1, DAY_MS)),
    },
    Key {
        section: "link",
        name: "grant_timeout_ms",
        meaning: "How long a peer may take nothing over of what was sent to it before its link \
                  ends.",
        too_small: "links end to peers whose handlers block for long.",
        too_large: "a peer that hangs holds a window of memory for longer.",
        kind: time!(grant_timeout, "milliseconds", MS, from_to(100, HOUR_MS)),
    },
    Key {
        section: "link",
        name: "dial_timeout_ms",
        meaning: "How long sends wait for the first connection of their link.",
        too_small: "what was sent is given up although the peer was about to start.",
        too_large: "a peer that is not there is noticed late.",
        kind: time!(dial_timeout, "milliseconds", MS, from_to(1, HOUR_MS)),
    },
    Key {
        section: "link",
        name: "resume_timeout_ms",
        meaning: "How long a link that lost its connection is kept, with what waits on it, until \
                  it goes on over another one.",
        too_small: "what was on its way is given up, although the network came back.",
        too_large: "a peer that is gone holds a window of memory for longer, and is noticed late.",
        kind: time!(resume_timeout, "milliseconds", MS, from_to(0, HOUR_MS)),
    },
    Key {
        section: "link",
        name: "idle_timeout_ms",
        meaning: "How long nothing goes over a link until it rests: it gives its connection up and \
                  stays, and the next send of either side dials. 0: never, and those of this node \
                  do not rest for their peers either. A node that its peers cannot dial sets 0.",
        too_small: "links rest between two messages, and each pays for a handshake.",
        too_large: "peers that say nothing hold a descriptor each.",
        kind: time!(idle_timeout, "milliseconds", MS, from_to(0, DAY_MS)),
    },
    Key {
        section: "large",
        name: "frame_bytes_max",
        meaning: "The largest frame body on the large lane. Larger messages are refused at the \
                  sender.",
        too_small: "more messages are refused.",
        too_large: "one message holds up the large ones behind it for longer.",
        kind: number!(large_frame_bytes_max, "bytes", FRAME),
    },
    Key {
        section: "large",
        name: "window_bytes",
        meaning: "`window_bytes` of `[link]` for a link of the large lane; at least \
                  `frame_bytes_max` of `[large]` and a slab of 65536 bytes.",
        too_small: "senders of large messages wait for grants.",
        too_large: "both sides pay this much memory per busy link, and wait longer behind it.",
        kind: number!(large_window_bytes, "bytes", WINDOW),
    },
    Key {
        section: "large",
        name: "outgoing_bytes_max",
        meaning: "Memory for messages on their way out on the large lane, per core, besides that \
                  for others; at least two windows of `[large]`.",
        too_small: "large messages find no room although their links have credit.",
        too_large: "peers that stall hold that much memory.",
        kind: number!(large_outgoing_bytes_max, "bytes", OUTGOING),
    },
    Key {
        section: "actor",
        name: "count_max",
        meaning: "Actors that a core may hold.",
        too_small: "spawning is refused.",
        too_large: "a leak of actors is noticed late.",
        kind: number!(actors_max, "actors", from_to(1, 1 << 24)),
    },
    Key {
        section: "actor",
        name: "mailbox_messages_max",
        meaning: "Messages that may wait for one actor.",
        too_small: "senders find no room while the actor is busy.",
        too_large: "messages grow old before they are handled.",
        kind: number!(mailbox_messages_max, "messages", from_to(1, 1 << 20)),
    },
    Key {
        section: "actor",
        name: "mailbox_bytes_max",
        meaning: "Bytes of messages that may wait for one actor; at least `frame_bytes_max` of \
                  `[link]`.",
        too_small: "senders of large messages find no room.",
        too_large: "each slow actor may hold that much memory.",
        kind: number!(
            mailbox_bytes_max,
            "bytes",
            from_to(limits::FRAME_BYTES_MIN as u64, 1 << 30)
        ),
    },
    Key {
        section: "actor",
        name: "turn_messages_max",
        meaning: "Messages that a core dispatches before the ring, the timers and the control \
                  traffic get their turn.",
        too_small: "a system call for few messages.",
        too_large: "sockets and timers wait longer while much is to be handled.",
        kind: number!(turn_messages_max, "messages", from_to(1, 1 << 16)),
    },
    Key {
        section: "actor",
        name: "turn_us_max",
        meaning: "User work after which a core gives the ring, the timers and the control traffic \
                  their turn; half of it is for tasks, if the turn before has left some. Looked at \
                  between handlers, never inside one.",
        too_small: "a system call for little work.",
        too_large: "sockets and timers wait longer while much is to be handled.",
        kind: time!(turn_time_max, "microseconds", US, from_to(1, 1_000_000)),
    },
    Key {
        section: "actor",
        name: "slow_handler_ms",
        meaning: "A handler that holds its core longer than this is counted, and now and then \
                  logged. It is wall time: a core that another program pre-empts counts too.",
        too_small: "lines about handlers that are merely busy.",
        too_large: "handlers that stall their core stay unseen.",
        kind: time!(slow_handler, "milliseconds", MS, from_to(1, DAY_MS)),
    },
    Key {
        section: "actor",
        name: "dead_letters_kept",
        meaning: "The last dead letters of all cores that are kept while somebody subscribes to \
                  them. When there is no room the oldest goes, and the subscriptions that have \
                  not read it count it as missed. A letter takes some hundred bytes.",
        too_small: "subscribers that are slow miss some.",
        too_large: "memory for letters that nobody reads.",
        kind: number!(dead_letters_kept, "letters", from_to(1, 1 << 20)),
    },
    Key {
        section: "ask",
        name: "timeout_ms",
        meaning: "How long a question waits for its answer, and `resolve` for a path, where they \
                  do not say so themselves.",
        too_small: "answers come too late and are dropped, although their handler ran.",
        too_large: "whoever asks learns late that there will be no answer.",
        kind: time!(ask_timeout, "milliseconds", MS, from_to(1, DAY_MS)),
    },
    Key {
        section: "watch",
        name: "heartbeat_interval_ms",
        meaning: "The time between two heartbeats to a node whose actors are watched from here.",
        too_small: "traffic between nodes that have nothing to say.",
        too_large: "a node that is gone is noticed late.",
        kind: time!(heartbeat_interval, "milliseconds", MS, from_to(10, HOUR_MS)),
    },
    Key {
        section: "watch",
        name: "heartbeat_pause_ms",
        meaning: "How long a watched node may be silent, on top of what is usual for its answers, \
                  before its actors count as lost. A crash that its host shows comes at once.",
        too_small: "a node that pauses counts as gone, and nobody is told when it comes back.",
        too_large: "a host that is gone is noticed late.",
        kind: time!(heartbeat_pause, "milliseconds", MS, from_to(0, HOUR_MS)),
    },
    RULES,
    ALLOW,
    cluster::TAKE_PART,
    cluster::SEEDS,
    cluster::ROLES,
    cluster::DATA_CENTRE,
    cluster::APP_VERSION,
    cluster::STATE_DIR,
    cluster::MEMBERS_MIN,
    cluster::MEMBERS_MIN_OF_ROLE,
    cluster::WEAKLY_UP_AFTER,
    cluster::GOSSIP_INTERVAL,
    cluster::HEARTBEAT_INTERVAL,
    cluster::HEARTBEAT_PAUSE,
    cluster::DC_HEARTBEAT_INTERVAL,
    cluster::DC_HEARTBEAT_PAUSE,
    cluster::DC_FIRST_ANSWER,
    cluster::DOWNING,
    cluster::STABLE_AFTER,
    cluster::FAST_STABLE_AFTER,
    cluster::CONFIGURATION_CHECK,
    cluster::LEASE_STORE,
    shutdown::PHASE_TIMEOUT,
    shutdown::PHASES,
    shutdown::ON_SIGNAL,
    shutdown::ON_LEAVING,
    shutdown::ON_DOWNED,
    shutdown::EXIT_CODES,
    Key {
        section: "control",
        name: "bind",
        meaning: "Where the control port listens, on the loopback: whoever reaches it reads the \
                  node's links, metrics, events and settings, as lines of JSON. Port 0 picks a \
                  free one. Empty: there is none.",
        too_small: "nobody looks into the node from outside.",
        too_large: "an address that is not of the loopback is refused: the port has no \
                    authentication.",
        kind: Kind::Text {
            form: "empty, or an IP address of the loopback and a port such as \"127.0.0.1:7401\"",
            get: control,
            set: set_control,
        },
    },
];
