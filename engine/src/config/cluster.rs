//! The keys of the cluster that a node takes part in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ringmesh_cluster::membership::Roles;
use ringmesh_cluster::membership::roles::check_role;
use ringmesh_cluster::membership::settings::check_seeds;

use super::key::{Key, Kind};
use super::kinds::{HOUR_MS, MS, from_to, switch, time, time_or_none, units, whole};
use crate::cluster::{ClusterSettings, Downing, LeaseStore};

pub(super) const TAKE_PART: Key = Key {
    section: "cluster",
    name: "take_part",
    meaning: "Whether the node takes part in a cluster: \"on\" or \"off\".",
    too_small: "off, it talks to nodes that it is told of, and knows of no others.",
    too_large: "on, nodes that it never talks to exchange heartbeats with it.",
    kind: switch!(cluster.take_part),
};

pub(super) const SEEDS: Key = Key {
    section: "cluster",
    name: "seeds",
    meaning: "Whom to ask for the cluster when the node starts: the same on all nodes, in the same \
              order. The first of them founds it if there is none. \"alone\": the node founds one \
              of its own. Empty: the program joins when it likes.",
    too_small: "one seed that is gone keeps others from joining.",
    too_large: "more than 64 are refused.",
    kind: Kind::Text {
        form: "empty, \"alone\", or addresses with commas between such as \
               \"ringmesh://demo@10.0.0.1:7400,ringmesh://demo@10.0.0.2:7400\"",
        get: |settings| match &settings.cluster.seeds {
            None => String::new(),
            Some(seeds) if seeds.is_empty() => "alone".to_owned(),
            Some(seeds) => joined(seeds),
        },
        set: |settings, text| {
            let seeds = match text {
                "" => None,
                "alone" => Some(Vec::new()),
                _ => {
                    let seeds = text.split(',').map(|seed| seed.trim().parse());
                    let seeds: Result<Vec<_>, _> = seeds.collect();
                    let seeds = seeds.map_err(|error| format!(": {error}"))?;
                    check_seeds(&seeds).map_err(|error| format!(": {error}"))?;
                    Some(seeds)
                }
            };
            settings.cluster.seeds = seeds;
            Ok(())
        },
    },
};

pub(super) const ROLES: Key = Key {
    section: "cluster",
    name: "roles",
    meaning: "What the node is for, as other members see it.",
    too_small: "empty: nobody finds it by a role.",
    too_large: "more than 31 roles, or one of more than 64 bytes, are refused.",
    kind: Kind::Text {
        form: "empty, or words with commas between such as \"front,search\"",
        get: |settings| settings.cluster.roles.join(","),
        set: |settings, text| {
            let roles = text
                .split(',')
                .map(str::trim)
                .filter(|role| !role.is_empty());
            let checked = Roles::new(roles.clone(), "default");
            checked.map_err(|error| format!(": {error}"))?;
            settings.cluster.roles = roles.map(str::to_owned).collect();
            Ok(())
        },
    },
};

pub(super) const DATA_CENTRE: Key = Key {
    section: "cluster",
    name: "data_centre",
    meaning: "The data centre that the node is in.",
    too_small: "empty is refused.",
    too_large: "more than 61 bytes are refused.",
    kind: Kind::Text {
        form: "a word such as \"east\"",
        get: |settings| settings.cluster.data_centre.clone(),
        set: |settings, text| {
            Roles::new([], text).map_err(|error| format!(": {error}"))?;
            text.clone_into(&mut settings.cluster.data_centre);
            Ok(())
        },
    },
};

pub(super) const APP_VERSION: Key = Key {
    section: "cluster",
    name: "app_version",
    meaning: "The version of the program on this node, which other members see.",
    too_small: "empty is refused.",
    too_large: "more than 64 bytes are refused.",
    kind: Kind::Text {
        form: "a version such as \"2.1.0\"",
        get: |settings| settings.cluster.app_version.to_string(),
        set: |settings, text| {
            let version = text.parse();
            settings.cluster.app_version = version.map_err(|error| format!(": {error}"))?;
            Ok(())
        },
    },
};

pub(super) const STATE_DIR: Key = Key {
    section: "cluster",
    name: "state_dir",
    meaning: "The directory in which the node remembers its cluster over restarts. With it, a node \
              that is restarted alone founds no second cluster beside one that it cannot reach.",
    too_small: "empty: nothing is remembered.",
    too_large: "two nodes with one directory forget each other's clusters.",
    kind: Kind::Text {
        form: "empty, or a path such as \"/var/lib/orders\"",
        get: |settings| {
            let directory = settings.cluster.state_dir.as_ref();
            directory.map_or_else(String::new, |it| it.display().to_string())
        },
        set: |settings, text| {
            settings.cluster.state_dir = (!text.is_empty()).then(|| PathBuf::from(text));
            Ok(())
        },
    },
};

pub(super) const MEMBERS_MIN: Key = Key {
    section: "cluster",
    name: "members_min",
    meaning: "So many nodes have to be there before any of them becomes a member in full.",
    too_small: "the first nodes begin their work before the others are there.",
    too_large: "the cluster does not begin while a few nodes are missing.",
    kind: Kind::Number {
        unit: "members",
        range: from_to(1, 1024),
        get: |settings| Some(settings.cluster.membership.members_min as u64),
        set: |settings, count| settings.cluster.membership.members_min = count as usize,
    },
};

pub(super) const MEMBERS_MIN_OF_ROLE: Key = Key {
    section: "cluster",
    name: "members_min_of_role",
    meaning: "The same among the nodes with a role.",
    too_small: "empty: no role is waited for.",
    too_large: "a number above 1024 is refused.",
    kind: Kind::Text {
        form: "empty, or roles with numbers such as \"front=2,search=3\"",
        get: |settings| joined(&pairs(&settings.cluster)),
        set: |settings, text| {
            let pair = |pair: &str| {
                let (role, count) = pair.split_once('=').ok_or_else(String::new)?;
                let role = role.trim();
                check_role(role).map_err(|error| format!(": {error}"))?;
                let count = count.trim().parse().map_err(|_| String::new())?;
                let is_good = (1..=1024).contains(&count);
                is_good
                    .then(|| (role.into(), count))
                    .ok_or_else(String::new)
            };
            let pairs = text.split(',').filter(|it| !it.trim().is_empty()).map(pair);
            let pairs: Result<BTreeMap<Box<str>, usize>, String> = pairs.collect();
            settings.cluster.membership.members_min_of_role = pairs?;
            Ok(())
        },
    },
};

pub(super) const WEAKLY_UP_AFTER: Key = Key {
    section: "cluster",
    name: "weakly_up_after_ms",
    meaning: "Nodes that join while not all members can be reached may work after this time. 0: \
              never.",
    too_small: "they begin while the others may only have paused.",
    too_large: "they wait for as long as a member is out of reach.",
    kind: time_or_none!(cluster.membership.weakly_up_after),
};

pub(super) const GOSSIP_INTERVAL: Key = Key {
    section: "cluster",
    name: "gossip_interval_ms",
    meaning: "How often members compare what they know, changed or not. What changes is passed on \
              at once besides.",
    too_small: "traffic between members that have nothing to say.",
    too_large: "what was lost on its way is found out later.",
    kind: time!(
        cluster.membership.gossip_interval,
        "milliseconds",
        MS,
        from_to(50, HOUR_MS)
    ),
};

pub(super) const HEARTBEAT_INTERVAL: Key = Key {
    section: "cluster",
    name: "heartbeat_interval_ms",
    meaning: "The time between two heartbeats of members that watch each other.",
    too_small: "traffic, and nodes that are late by this much take themselves for stalled.",
    too_large: "a member that is gone is noticed late.",
    kind: Kind::Number {
        unit: "milliseconds",
        range: from_to(50, HOUR_MS),
        get: |settings| Some(units(settings.cluster.monitor.interval, MS)),
        set: |settings, ms| settings.cluster.set_heartbeat_interval(whole(ms, MS)),
    },
};

pub(super) const HEARTBEAT_PAUSE: Key = Key {
    section: "cluster",
    name: "heartbeat_pause_ms",
    meaning: "How long a member may be silent, on top of what is usual for its answers, before it \
              counts as unreachable. A crash that its host shows comes at once.",
    too_small: "a member that pauses counts as unreachable.",
    too_large: "a host that is gone is noticed late.",
    kind: Kind::Number {
        unit: "milliseconds",
        range: from_to(0, HOUR_MS),
        get: |settings| {
            let pause = settings.cluster.heartbeat_pause();
            pause.map(|it| units(it, MS))
        },
        set: |settings, ms| settings.cluster.set_heartbeat_pause(whole(ms, MS)),
    },
};

pub(super) const DOWNING: Key = Key {
    section: "cluster",
    name: "downing",
    meaning: "Which side goes on when the cluster falls apart. \"keep-majority\": the one with \
              more members. \"static-quorum size=N\": the one with so many. \"keep-oldest\": that \
              of the oldest member, which goes if it is alone and others are not, but for \
              \"alone=stays\". \"lease-majority\": the one that gets a lease from \
              cluster.lease_store, for which that with more members asks first. \"down-all\": \
              none. With \"role=R\" behind it only members with that role count. The same on all \
              members.",
    too_small: "a quorum of half the members or less lets no side go on.",
    too_large: "a quorum of all members lets no side go on when one is lost.",
    kind: Kind::Text {
        form: "\"keep-majority\", \"static-quorum size=3\", \"keep-oldest\", \"lease-majority\" \
               or \"down-all\", and perhaps \"role=R\" behind it",
        get: |settings| settings.cluster.downing.text(),
        set: |settings, text| {
            settings.cluster.downing = Downing::parse(text)?;
            Ok(())
        },
    },
};

pub(super) const STABLE_AFTER: Key = Key {
    section: "cluster",
    name: "stable_after_ms",
    meaning: "How long nothing may change before members that are lost are given up. 0: by the \
              size of the cluster, 7 seconds up to 5 members. The same on all members.",
    too_small: "it is decided on news that have not reached all members.",
    too_large: "what lost members did waits for as long.",
    kind: time_or_none!(cluster.resolver.stable_after),
};

pub(super) const FAST_STABLE_AFTER: Key = Key {
    section: "cluster",
    name: "fast_stable_after_ms",
    meaning: "The same where every lost member's host refuses connections to it, as two others at \
              least have found. 0: never sooner.",
    too_small: "a member that is being restarted is given up.",
    too_large: "a member that has crashed is waited for.",
    kind: time_or_none!(cluster.resolver.fast_stable_after),
};

pub(super) const CONFIGURATION_CHECK: Key = Key {
    section: "cluster",
    name: "configuration_check",
    meaning: "Whether the node joins only if all that has to be the same on all members is: \
              \"enforce\". With \"report\" it joins nevertheless and tells of the difference, and \
              asks it of nobody: for rolling restarts that bring another configuration.",
    too_small: "\"report\", members that decide by different strategies may go on on two sides: \
                not for longer than the restarts take.",
    too_large: "\"enforce\", a configuration changes only with all members stopped.",
    kind: Kind::Text {
        form: "\"enforce\" or \"report\"",
        get: |settings| {
            let enforces = settings.cluster.membership.enforces_configuration;
            if enforces { "enforce" } else { "report" }.to_owned()
        },
        set: |settings, text| {
            settings.cluster.membership.enforces_configuration = match text {
                "enforce" => true,
                "report" => false,
                _ => return Err(String::new()),
            };
            Ok(())
        },
    },
};

pub(super) const LEASE_STORE: Key = Key {
    section: "cluster",
    name: "lease_store",
    meaning: "What gives leases to the node: the same on all members. \"none\". \"directory \
              PATH\": a directory that all hosts share, below the point where it is mounted. \
              \"kubernetes\": the API server of the pod; or another, with \"server=URL\", and \
              perhaps \"namespace=N\", \"token_file=PATH\" and \"ca_file=PATH\". \"consul \
              url=URL\": an agent, and perhaps \"prefix=P\", \"token_file=PATH\" and \
              \"ca_file=PATH\". The last two are features of the program: lease-kubernetes, \
              lease-consul.",
    too_small: "\"none\": what needs a lease is refused when the node starts.",
    too_large: "members with different stores hold the same lease at once.",
    kind: Kind::Text {
        form: "\"none\", \"directory /mnt/leases/orders\", \"kubernetes\" or \"consul \
               url=http://127.0.0.1:8500\"",
        get: |settings| settings.cluster.lease_store.text(),
        set: |settings, text| {
            settings.cluster.lease_store = LeaseStore::parse(text)?;
            Ok(())
        },
    },
};

fn pairs(cluster: &ClusterSettings) -> Vec<String> {
    let of_role = cluster.membership.members_min_of_role.iter();
    of_role
        .map(|(role, count)| format!("{role}={count}"))
        .collect()
}

fn joined(items: &[impl ToString]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(",")
}
