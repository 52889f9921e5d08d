//! Where an actor is to live, as code says and as settings say.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringmesh_proto::address::{Address, CoreId, check_actor_path};

/// Paths that the settings may place.
pub(super) const RULES_MAX: usize = 256;

/// Nodes that one of them may list.
pub(super) const NODES_MAX: usize = 64;

/// What the paths in settings begin with.
const USER: &str = "/user/";

/// Stands for every name, as the last of a path.
const ANY: &str = "*";

/// The word for the node itself.
const HERE: &str = "here";

/// Where an actor is to live. The settings under `[placement]` of the node that spawns it win over
/// this.
///
/// A clone of one with several nodes takes its turns with the original.
#[derive(Clone)]
pub struct Placement {
    /// Never empty.
    sites: Arc<[Site]>,
    next: Arc<AtomicUsize>,
}

/// One place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Site {
    /// `None`: this one.
    pub(crate) node: Option<Address>,
    /// `None`: that of the parent; on another node, any.
    pub(crate) core: Option<CoreId>,
}

impl Placement {
    /// On the core of its parent, or of whoever spawns it.
    ///
    /// If that is a control core that `core.reserve_control_core` keeps free, on each of the others
    /// in turn: its path then begins with `/user/remote/`, as that of any actor on another core,
    /// and at the name it was given [`resolve`](crate::Node::resolve) finds only its stand-in.
    pub fn here() -> Self {
        Self::of(vec![Site::default()])
    }

    /// On a core of this node.
    pub fn core(core: CoreId) -> Self {
        Self::here().on_core(core)
    }

    /// On the node at `address`, which spreads such actors over its cores, a reserved one aside. If
    /// that is this very node, [here](Self::here).
    pub fn node(address: Address) -> Self {
        Self::in_turn([address])
    }

    /// On each of several nodes in turn; of none, [here](Self::here). One that cannot be reached
    /// keeps its turn.
    pub fn in_turn(nodes: impl IntoIterator<Item = Address>) -> Self {
        let sites = nodes.into_iter().map(|node| Site {
            node: Some(node),
            core: None,
        });
        let sites: Vec<Site> = sites.collect();
        if sites.is_empty() {
            return Self::here();
        }
        Self::of(sites)
    }

    /// The same on a certain core there.
    #[must_use]
    pub fn on_core(self, core: CoreId) -> Self {
        let sites = self.sites.iter().map(|site| Site {
            core: Some(core),
            ..site.clone()
        });
        Self::of(sites.collect())
    }

    fn of(sites: Vec<Site>) -> Self {
        Self {
            sites: sites.into(),
            next: Arc::default(),
        }
    }

    /// The place whose turn it is.
    pub(crate) fn take_turn(&self) -> Site {
        let turn = match self.sites.len() {
            1 => 0,
            count => self.next.fetch_add(1, Ordering::Relaxed) % count,
        };
        self.sites[turn].clone()
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sites.iter()).finish()
    }
}

/// What the settings say of places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placements {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// That of the actors above, without `/user/`; empty of those that have no parent.
    parent: String,
    /// `None`: any.
    name: Option<String>,
    placement: Placement,
}

impl Placements {
    /// Reads `/user/a/b=here;/user/c/*=ringmesh://..,ringmesh://..`.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rules: Vec<Rule> = Vec::new();
        for part in text.split(';').map(str::trim) {
            if part.is_empty() && text.trim().is_empty() {
                continue;
            }
            let rule = Rule::parse(part).map_err(|problem| format!(": {problem}"))?;
            let is_same = |it: &Rule| it.parent == rule.parent && it.name == rule.name;
            if rules.iter().any(is_same) {
                return Err(format!(": `{part}` places what stands before it already"));
            }
            rules.push(rule);
        }
        if rules.len() > RULES_MAX {
            let count = rules.len();
            return Err(format!(": {count} paths are more than {RULES_MAX}"));
        }
        Ok(Self { rules })
    }

    /// Where the child of that name is to live: by its own path, else by `*` in its place.
    pub(crate) fn find(&self, parent: &str, name: Option<&str>) -> Option<&Placement> {
        let of_parent = || self.rules.iter().filter(|rule| rule.parent == parent);
        let own = of_parent().find(|rule| rule.name.is_some() && rule.name.as_deref() == name);
        let rule = own.or_else(|| of_parent().find(|rule| rule.name.is_none()))?;
        Some(&rule.placement)
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not a path, `=`, and where its actor is to live");
        let (path, nodes) = text.split_once('=').ok_or_else(form)?;
        let (parent, name) = parse_path(path.trim())?;
        let sites = nodes.split(',').map(|node| parse_site(node.trim()));
        let sites = sites.collect::<Result<Vec<_>, _>>()?;
        if sites.len() > NODES_MAX {
            let count = sites.len();
            return Err(format!("{count} nodes are more than {NODES_MAX}"));
        }
        Ok(Self {
            parent,
            name,
            placement: Placement::of(sites),
        })
    }
}

fn parse_path(text: &str) -> Result<(String, Option<String>), String> {
    let path = text.strip_prefix(USER);
    let path = path.ok_or_else(|| format!("the path `{text}` does not begin with `{USER}`"))?;
    check_actor_path(path).map_err(|error| format!("`{text}` is not a path: {error}"))?;
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    if parent.split('/').any(|name| name == ANY) {
        return Err(format!("`{ANY}` stands for the last name of a path alone"));
    }
    let name = (name != ANY).then(|| name.to_owned());
    Ok((parent.to_owned(), name))
}

fn parse_site(text: &str) -> Result<Site, String> {
    if text == HERE {
        return Ok(Site::default());
    }
    let node = text.parse().map_err(|error| {
        format!("`{text}` is neither `{HERE}` nor the address of a node: {error}")
    })?;
    Ok(Site {
        node: Some(node),
        core: None,
    })
}

/// One entry of a file as it stands in the text of all.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn rule(path: &str, nodes: &[&str]) -> Result<String, String> {
    if let Some(bad) = path.chars().find(|letter| ";=,".contains(*letter)) {
        return Err(format!(
            "the path `{path}` has a `{bad}`: that cannot be placed"
        ));
    }
    if nodes.is_empty() {
        return Err(format!("list one node at least, or write \"{HERE}\""));
    }
    if let Some(bad) = nodes.iter().find(|node| node.contains([';', ','])) {
        return Err(format!("`{bad}` is more than one node: write a list"));
    }
    let rule = format!("{path}={}", nodes.join(","));
    Rule::parse(&rule)?;
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [&str; 2] = ["ringmesh://demo@a:1", "ringmesh://demo@b:2"];

    fn site(node: &str) -> Site {
        Site {
            node: Some(node.parse().unwrap()),
            core: None,
        }
    }

    #[test]
    fn the_own_path_goes_before_the_star_of_its_siblings() {
        let text = format!(
            "/user/boss/one=here; /user/boss/*={},{};/user/*={}",
            NODES[0], NODES[1], NODES[1]
        );
        let placements = Placements::parse(&text).unwrap();
        let turn = |parent, name| {
            let placement = placements.find(parent, name);
            placement.map(Placement::take_turn)
        };
        assert_eq!(turn("boss", Some("one")), Some(Site::default()));
        let others = [Some("two"), None, Some("*")].map(|name| turn("boss", name));
        let expected = [NODES[0], NODES[1], NODES[0]].map(|node| Some(site(node)));
        assert_eq!(others, expected, "they take turns");
        assert_eq!(turn("", Some("boss")), Some(site(NODES[1])));
        assert_eq!(turn("boss/one", Some("two")), None);
        assert!(Placements::parse("").unwrap().find("", None).is_none());
    }

    #[test]
    fn a_clone_takes_its_turns_with_the_original() {
        let addresses = NODES.map(|node| node.parse().unwrap());
        let placement = Placement::in_turn(addresses);
        let clone = placement.clone();
        let turns = [&placement, &clone, &clone, &placement].map(Placement::take_turn);
        let nodes = turns.map(|turn| turn.node.unwrap().to_string());
        assert_eq!(nodes, [NODES[0], NODES[1], NODES[0], NODES[1]]);
        assert_eq!(Placement::in_turn([]).take_turn(), Site::default());
        let there = placement.on_core(CoreId(3)).take_turn();
        assert_eq!(there.core, Some(CoreId(3)));
    }

    #[test]
    fn what_is_no_placement_is_refused_with_its_reason() {
        for (text, reason) in [
            ("/user/a", "is not a path, `=`"),
            ("a=here", "does not begin with `/user/`"),
            ("/user/=here", "is not a path"),
            ("/user/*/a=here", "the last name of a path alone"),
            ("/user/a=there", "neither `here` nor the address of a node"),
            ("/user/a=", "neither `here` nor"),
            ("/user/a=here;", "is not a path, `=`"),
            ("/user/a=here;/user/a=here", "stands before it already"),
        ] {
            let problem = Placements::parse(text).unwrap_err();
            assert!(problem.contains(reason), "{text}: {problem}");
        }
        for (path, nodes) in [("/user/a;b", vec!["here"]), ("/user/a", vec![])] {
            assert!(rule(path, &nodes).is_err());
        }
        assert!(rule("/user/a", &["here,here"]).is_err());
        assert_eq!(
            rule("/user/a", &["here", "here"]).unwrap(),
            "/user/a=here,here"
        );
    }

    #[test]
    fn one_over_the_rules_or_the_nodes_of_one_is_refused() {
        let rules = |count: usize| {
            let rules = (0..count).map(|number| format!("/user/a{number}=here"));
            rules.collect::<Vec<_>>().join(";")
        };
        assert!(Placements::parse(&rules(RULES_MAX)).is_ok());
        assert!(Placements::parse(&rules(RULES_MAX + 1)).is_err());
        assert!(rule("/user/a", &[HERE; NODES_MAX]).is_ok());
        assert!(rule("/user/a", &[HERE; NODES_MAX + 1]).is_err());
    }
}
