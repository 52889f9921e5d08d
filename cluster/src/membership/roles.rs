//! What a member is for.

use std::fmt;

/// The most roles of a member, its data centre among them.
pub const ROLES_MAX: usize = 32;

/// The longest role, in bytes.
pub const ROLE_BYTES_MAX: usize = 64;

const DATA_CENTRE: &str = "dc-";

/// The longest name of a data centre, in bytes: it is a part of a role.
pub const DATA_CENTRE_BYTES_MAX: usize = ROLE_BYTES_MAX - DATA_CENTRE.len();

/// The name of the data centre of whoever names none.
pub const DATA_CENTRE_DEFAULT: &str = "default";

/// The roles of a member, each once, in the order of their texts; the data centre is one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Roles(Box<[Box<str>]>);

/// Why roles are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// A text is no role.
    #[error("{role:?} is no role: 1 to {ROLE_BYTES_MAX} letters, digits, '-', '_' and '.'")]
    Text {
        /// The text.
        role: String,
    },
    /// It begins as the name of a data centre does.
    #[error("the role {role:?} begins with \"dc-\", which is for data centres: set that instead")]
    Reserved {
        /// The role.
        role: String,
    },
    /// There are too many.
    #[error(
        "{count} roles are more than the {ROLES_MAX} a node may have, its data centre included"
    )]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl Roles {
    /// The roles of a node in a data centre. Those said twice count once.
    ///
    /// # Errors
    /// [`RoleError`] names the first that is none.
    pub fn new<'a>(
        roles: impl IntoIterator<Item = &'a str>,
        data_centre: &str,
    ) -> Result<Self, RoleError> {
        let mut all = Vec::new();
        for role in roles {
            check_role(role)?;
            if role.starts_with(DATA_CENTRE) {
                let role = role.to_owned();
                return Err(RoleError::Reserved { role });
            }
            all.push(Box::from(role));
        }
        let data_centre = format!("{DATA_CENTRE}{data_centre}");
        check_role(&data_centre)?;
        all.push(data_centre.into_boxed_str());
        all.sort_unstable();
        all.dedup();
        Self::bounded(all)
    }

    /// The roles another node says it has: in order, each once, and one of them its data centre.
    pub(super) fn from_wire(roles: Vec<Box<str>>) -> Option<Self> {
        let is_in_order = roles.windows(2).all(|pair| pair[0] < pair[1]);
        let data_centres = roles.iter().filter(|role| role.starts_with(DATA_CENTRE));
        let are_good = roles.iter().all(|role| check_role(role).is_ok());
        if !is_in_order || !are_good || data_centres.count() != 1 {
            return None;
        }
        Self::bounded(roles).ok()
    }

    fn bounded(roles: Vec<Box<str>>) -> Result<Self, RoleError> {
        let count = roles.len();
        if count > ROLES_MAX {
            return Err(RoleError::TooMany { count });
        }
        Ok(Self(roles.into_boxed_slice()))
    }

    /// Whether it is one of them.
    pub fn has(&self, role: &str) -> bool {
        self.0.iter().any(|it| &**it == role)
    }

    /// The name of the data centre.
    pub fn data_centre(&self) -> &str {
        let name = self
            .0
            .iter()
            .find_map(|role| role.strip_prefix(DATA_CENTRE));
        name.unwrap_or(DATA_CENTRE_DEFAULT)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|role| &**role)
    }
}

impl Default for Roles {
    /// None, in the data centre of whoever names none.
    fn default() -> Self {
        Self(Box::new([
            format!("{DATA_CENTRE}{DATA_CENTRE_DEFAULT}").into_boxed_str()
        ]))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// Checks that a text may be a role, or that of a data centre.
///
/// # Errors
/// [`RoleError::Text`] if it may not.
pub fn check_role(role: &str) -> Result<(), RoleError> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = (1..=ROLE_BYTES_MAX).contains(&role.len()) && role != DATA_CENTRE;
    if is_name && role.bytes().all(is_good) {
        return Ok(());
    }
    let role = role.to_owned();
    Err(RoleError::Text { role })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_once_and_the_data_centre_is_one() {
        let roles = Roles::new(["front", "back", "front"], "east").unwrap();
        assert!(roles.iter().eq(["back", "dc-east", "front"]));
        assert_eq!(roles.data_centre(), "east");
        assert!(roles.has("front") && !roles.has("fron"));
        assert_eq!(Roles::default(), Roles::new([], "default").unwrap());
        assert_eq!(Roles::default().data_centre(), DATA_CENTRE_DEFAULT);
    }

    #[test]
    fn what_is_no_role_is_named() {
        let text = |role: &str| RoleError::Text {
            role: role.to_owned(),
        };
        for bad in [
            "",
            "two words",
            "ro\u{308}le",
            &"x".repeat(ROLE_BYTES_MAX + 1),
        ] {
            assert_eq!(Roles::new([bad], "east"), Err(text(bad)));
        }
        assert_eq!(Roles::new([], ""), Err(text("dc-")));
        let role = "dc-west".to_owned();
        let reserved = Roles::new([&*role], "east");
        assert_eq!(reserved, Err(RoleError::Reserved { role }));
    }

    #[test]
    fn one_over_the_roles_max_and_the_role_bytes_max_are_refused() {
        let many: Vec<String> = (0..ROLES_MAX).map(|role| format!("r{role}")).collect();
        let all = || many.iter().map(|role| &**role);
        let count = ROLES_MAX + 1;
        assert_eq!(Roles::new(all(), "x"), Err(RoleError::TooMany { count }));
        assert!(Roles::new(all().skip(1), "x").is_ok());
        let longest = "x".repeat(ROLE_BYTES_MAX);
        assert!(Roles::new([&*longest], "x").is_ok());
    }

    #[test]
    fn roles_of_others_are_in_order_each_once_with_one_data_centre() {
        let from =
            |roles: &[&str]| Roles::from_wire(roles.iter().map(|it| Box::from(*it)).collect());
        assert!(from(&["a", "dc-x"]).is_some());
        assert!(from(&["dc-x", "a"]).is_none());
        assert!(from(&["a", "a", "dc-x"]).is_none());
        assert!(from(&["a"]).is_none());
        assert!(from(&["dc-x", "dc-y"]).is_none());
        assert!(from(&["dc-x", "no good"]).is_none());
    }
}
