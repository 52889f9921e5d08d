//! What gives leases to a node, as a setting.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ringmesh_lease::{DirectoryStore, Store};

/// What gives leases to a node: the same for all members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseStore {
    /// Nothing, but for what the program itself gives the node, by
    /// [`NodeBuilder::lease_store`](crate::NodeBuilder::lease_store).
    #[default]
    None,
    /// A directory that all hosts share; see [`DirectoryStore`](crate::lease::DirectoryStore) for
    /// where that works.
    Directory(PathBuf),
    /// `Lease` objects of Kubernetes. With the feature `lease-kubernetes`.
    Kubernetes {
        /// `https://HOST:PORT` of the API server. `None`: that of the pod, with its account.
        server: Option<String>,
        /// The namespace of the objects. `None`: that of the pod, else "default".
        namespace: Option<String>,
        /// The file of an account's token, in place of the pod's.
        token_file: Option<PathBuf>,
        /// The file of the certificates that vouch for the server, in place of the pod's.
        ca_file: Option<PathBuf>,
    },
    /// Keys of Consul. With the feature `lease-consul`.
    Consul {
        /// `http://HOST:PORT` or `https://HOST:PORT` of an agent.
        url: String,
        /// What the keys begin with. `None`: "ringmesh/leases/".
        prefix: Option<String>,
        /// The file of an ACL token.
        token_file: Option<PathBuf>,
        /// The file of the certificates that vouch for the agent.
        ca_file: Option<PathBuf>,
    },
}

impl LeaseStore {
    /// What it is, which is the same on all members. Where it is may not be: hosts may mount a
    /// directory at different places, and ask different agents. `None`: it is not known.
    pub(super) const fn kind(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Directory(_) => Some("directory"),
            Self::Kubernetes { .. } => Some("kubernetes"),
            Self::Consul { .. } => Some("consul"),
        }
    }

    /// In which part of it the leases are, if that is said: what is left out may be another one for
    /// each host.
    pub(super) fn within(&self) -> Option<&str> {
        match self {
            Self::Kubernetes { namespace, .. } => namespace.as_deref(),
            Self::Consul { prefix, .. } => Some(prefix.as_deref().unwrap_or("ringmesh/leases/")),
            Self::None | Self::Directory(_) => None,
        }
    }

    /// The store. `None`: there is none.
    ///
    /// # Errors
    /// Why it cannot be used, in one line.
    pub(crate) fn open(&self) -> Result<Option<Box<dyn Store>>, String> {
        let store: Box<dyn Store> = match self {
            Self::None => return Ok(None),
            Self::Directory(path) => {
                let store = DirectoryStore::open(path);
                Box::new(store.map_err(|error| error.to_string())?)
            }
            Self::Kubernetes { .. } => self.kubernetes()?,
            Self::Consul { .. } => self.consul()?,
        };
        Ok(Some(store))
    }

    #[cfg(not(feature = "lease-kubernetes"))]
    fn kubernetes(&self) -> Result<Box<dyn Store>, String> {
        Err("the program was built without the feature lease-kubernetes".to_owned())
    }

    #[cfg(feature = "lease-kubernetes")]
    fn kubernetes(&self) -> Result<Box<dyn Store>, String> {
        use ringmesh_lease::{Credential, KubernetesSettings, KubernetesStore};
        let Self::Kubernetes {
            server,
            namespace,
            token_file,
            ca_file,
        } = self
        else {
            return Err("it is another store".to_owned());
        };
        let mut settings = match server {
            Some(server) => KubernetesSettings::new(server, "default"),
            None => KubernetesSettings::in_cluster().map_err(|error| error.to_string())?,
        };
        if let Some(namespace) = namespace {
            settings.namespace.clone_from(namespace);
        }
        if let Some(path) = token_file {
            settings.credential = Credential::File(path.clone());
        }
        if ca_file.is_some() {
            settings.ca_file.clone_from(ca_file);
        }
        let store = KubernetesStore::new(settings);
        Ok(Box::new(store.map_err(|error| error.to_string())?))
    }

    #[cfg(not(feature = "lease-consul"))]
    fn consul(&self) -> Result<Box<dyn Store>, String> {
        Err("the program was built without the feature lease-consul".to_owned())
    }

    #[cfg(feature = "lease-consul")]
    fn consul(&self) -> Result<Box<dyn Store>, String> {
        use ringmesh_lease::{ConsulSettings, ConsulStore, Credential};
        let Self::Consul {
            url,
            prefix,
            token_file,
            ca_file,
        } = self
        else {
            return Err("it is another store".to_owned());
        };
        let mut settings = ConsulSettings::new(url);
        if let Some(prefix) = prefix {
            settings.prefix.clone_from(prefix);
        }
        if let Some(path) = token_file {
            settings.credential = Credential::File(path.clone());
        }
        settings.ca_file.clone_from(ca_file);
        let store = ConsulStore::new(settings);
        Ok(Box::new(store.map_err(|error| error.to_string())?))
    }

    /// As it stands in a file: what it is, and behind it what it takes.
    pub(crate) fn text(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|it| it.display().to_string());
        let with = |name: &str, options: &[(&str, Option<String>)]| {
            let given = options.iter().filter_map(|(key, value)| {
                let value = value.as_ref()?;
                Some(format!(" {key}={value}"))
            });
            format!("{name}{}", given.collect::<String>())
        };
        match self {
            Self::None => "none".to_owned(),
            Self::Directory(path) => format!("directory {}", path.display()),
            Self::Kubernetes {
                server,
                namespace,
                token_file,
                ca_file,
            } => with(
                "kubernetes",
                &[
                    ("server", server.clone()),
                    ("namespace", namespace.clone()),
                    ("token_file", path(token_file)),
                    ("ca_file", path(ca_file)),
                ],
            ),
            Self::Consul {
                url,
                prefix,
                token_file,
                ca_file,
            } => with(
                "consul",
                &[
                    ("url", Some(url.clone())),
                    ("prefix", prefix.clone()),
                    ("token_file", path(token_file)),
                    ("ca_file", path(ca_file)),
                ],
            ),
        }
    }

    /// Reads that.
    ///
    /// # Errors
    /// What is wrong with it, as far as there is more to say than that it is something else.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let other = String::new;
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        if name == "directory" && !rest.trim().is_empty() {
            return Ok(Self::Directory(PathBuf::from(rest.trim())));
        }
        let keys = [
            "url",
            "server",
            "namespace",
            "prefix",
            "token_file",
            "ca_file",
        ];
        let mut given = keys.map(|key| (key, None::<String>));
        for word in rest.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(other)?;
            let slot = given.iter_mut().find(|(known, _)| *known == key);
            let (_, slot) = slot.ok_or_else(other)?;
            if value.is_empty() || slot.replace(value.to_owned()).is_some() {
                return Err(other());
            }
        }
        let [url, server, namespace, prefix, token_file, ca_file] = given.map(|(_, value)| value);
        let (token_file, ca_file) = (token_file.map(PathBuf::from), ca_file.map(PathBuf::from));
        match (name, url, server, namespace, prefix) {
            ("none", None, None, None, None) if rest.trim().is_empty() => Ok(Self::None),
            ("kubernetes", None, server, namespace, None) => Ok(Self::Kubernetes {
                server,
                namespace,
                token_file,
                ca_file,
            }),
            ("consul", Some(url), None, None, prefix) => Ok(Self::Consul {
                url,
                prefix,
                token_file,
                ca_file,
            }),
            _ => Err(other()),
        }
    }
}

/// Makes a store of the program's own, for each start of a node.
#[derive(Clone)]
pub(crate) struct StoreFactory(Arc<dyn Fn() -> Box<dyn Store> + Send + Sync>);

impl StoreFactory {
    pub(crate) fn new<S: Store + 'static>(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }

    pub(crate) fn make(&self) -> Box<dyn Store> {
        (self.0)()
    }
}

impl fmt::Debug for StoreFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFactory").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again_and_nothing_else_is() {
        for text in [
            "none",
            "directory /mnt/leases/orders and more",
            "kubernetes",
            "kubernetes namespace=orders",
            "kubernetes server=https://10.0.0.1:6443 namespace=a token_file=/t ca_file=/c",
            "consul url=http://127.0.0.1:8500",
            "consul url=https://consul:8501 prefix=orders/ token_file=/t ca_file=/c",
        ] {
            assert_eq!(LeaseStore::parse(text).expect(text).text(), text);
        }
        for text in [
            "",
            "directory",
            "directory ",
            "none directory",
            "none namespace=a",
            "etcd",
            "consul",
            "consul http://127.0.0.1:8500",
            "consul url=",
            "consul url=a url=a",
            "consul url=a namespace=a",
            "kubernetes url=a",
            "kubernetes namespace",
            "kubernetes prefix=a",
        ] {
            assert!(LeaseStore::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_store_that_cannot_be_used_says_so_in_one_line() {
        assert!(LeaseStore::None.open().expect("it is none").is_none());
        let directory = tempfile::tempdir().expect("a directory");
        let there = LeaseStore::Directory(directory.path().to_owned());
        assert!(there.open().expect("it is there").is_some());
        let missing = LeaseStore::Directory(directory.path().join("missing"));
        let error = missing.open().err().expect("it is not there");
        assert!(error.contains("missing cannot be used"), "{error}");
    }

    #[test]
    #[cfg(not(any(feature = "lease-consul", feature = "lease-kubernetes")))]
    fn a_store_that_was_not_built_in_names_its_feature() {
        for (text, feature) in [
            ("kubernetes", "lease-kubernetes"),
            ("consul url=http://127.0.0.1:8500", "lease-consul"),
        ] {
            let error = LeaseStore::parse(text).expect(text).open().err();
            assert!(error.is_some_and(|it| it.contains(feature)), "{text}");
        }
    }

    #[test]
    #[cfg(feature = "lease-consul")]
    fn an_agent_whose_address_is_none_is_refused() {
        let good = LeaseStore::parse("consul url=http://127.0.0.1:8500").expect("it is one");
        assert!(good.open().expect("nothing is sent").is_some());
        let bad = LeaseStore::parse("consul url=127.0.0.1:8500").expect("it is read");
        let error = bad.open().err().expect("it is none");
        assert!(error.contains("the address of a server"), "{error}");
    }

    #[test]
    #[cfg(feature = "lease-kubernetes")]
    fn an_api_server_is_named_or_that_of_a_pod() {
        let text = "kubernetes server=http://127.0.0.1:8001 namespace=a";
        let good = LeaseStore::parse(text).expect("it is one");
        assert!(good.open().expect("nothing is sent").is_some());
        let pod = LeaseStore::parse("kubernetes").expect("it is one");
        let error = pod.open().err().expect("the tests run in no pod");
        assert!(error.contains("no pod"), "{error}");
    }
}
