//! What both libraries can do, in the terms of RFC 9420.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

/// How a new agent behaves.
#[derive(Deserialize)]
pub struct Options {
    /// `openmls` or `mls-rs`.
    pub library: String,
    /// The identity of its basic credential.
    pub identity: String,
    /// The number of its cipher suite (RFC 9420 17.1).
    #[serde(default = "suite_1")]
    pub suite: u16,
    /// Whether it sends handshakes as PublicMessages.
    #[serde(default)]
    pub public: bool,
    /// Whether it lists SelfRemove among its capabilities.
    #[serde(default)]
    pub self_remove: bool,
}

fn suite_1() -> u16 {
    1
}

/// What a commit is to change. Without any change it renews the committer's path.
#[derive(Deserialize)]
pub struct Change {
    /// Key packages to add, each in an MLSMessage, in hex.
    #[serde(default)]
    pub add: Vec<String>,
    /// Leaf indices to remove.
    #[serde(default)]
    pub remove: Vec<u32>,
    /// Whether a path is made where RFC 9420 12.4 does not ask for one.
    #[serde(default = "yes")]
    pub path: bool,
}

fn yes() -> bool {
    true
}

impl Change {
    pub fn packages(&self) -> Outcome<Vec<Vec<u8>>> {
        self.add.iter().map(|text| Ok(hex::decode(text)?)).collect()
    }
}

pub struct KeyPackage {
    pub bytes: Vec<u8>,
    pub reference: Vec<u8>,
}

impl KeyPackage {
    pub fn json(&self) -> Value {
        json!({ "bytes": hex::encode(&self.bytes), "reference": hex::encode(&self.reference) })
    }
}

/// A commit with what goes along with it.
pub struct Committed {
    pub commit: Vec<u8>,
    pub welcomes: Vec<Vec<u8>>,
    /// The GroupInfo of the epoch that the commit leads to, where the library gives it already.
    pub group_info: Option<Vec<u8>>,
}

impl Committed {
    pub fn json(&self) -> Value {
        json!({
            "commit": hex::encode(&self.commit),
            "welcomes": self.welcomes.iter().map(hex::encode).collect::<Vec<_>>(),
            "groupInfo": self.group_info.as_ref().map(hex::encode),
        })
    }
}

/// What a received message was.
pub enum Received {
    Text { text: String },
    Proposal,
    Commit { epoch: u64, member: bool },
    Other,
}

impl Received {
    pub fn json(&self) -> Value {
        match self {
            Received::Text { text } => json!({ "kind": "text", "text": text }),
            Received::Proposal => json!({ "kind": "proposal" }),
            Received::Commit { epoch, member } => json!({ "kind": "commit", "epoch": epoch, "member": member }),
            Received::Other => json!({ "kind": "other" }),
        }
    }
}

/// What all members of an epoch agree on.
pub struct State {
    pub epoch: u64,
    pub own: u32,
    /// Leaf index and identity of each member.
    pub members: Vec<(u32, String)>,
    /// The epoch authenticator (RFC 9420 8.7): equal secrets, equal value.
    pub authenticator: Vec<u8>,
}

impl State {
    pub fn json(&self) -> Value {
        json!({
            "epoch": self.epoch, "own": self.own, "members": self.members,
            "authenticator": hex::encode(&self.authenticator),
        })
    }
}

pub trait Agent {
    fn signature_key(&self) -> Outcome<Vec<u8>>;
    fn key_package(&mut self, last_resort: bool) -> Outcome<KeyPackage>;
    fn create(&mut self, group_id: &[u8]) -> Outcome<()>;
    /// Makes a commit that takes effect by `merge`.
    fn commit(&mut self, change: &Change) -> Outcome<Committed>;
    fn merge(&mut self) -> Outcome<u64>;
    fn discard(&mut self) -> Outcome<()>;
    fn join(&mut self, welcome: &[u8]) -> Outcome<u64>;
    fn text(&mut self, text: &str) -> Outcome<Vec<u8>>;
    fn process(&mut self, message: &[u8]) -> Outcome<Received>;
    fn propose_remove(&mut self, leaf: u32) -> Outcome<Vec<u8>>;
    fn self_remove(&mut self) -> Outcome<Vec<u8>>;
    /// The GroupInfo of the present epoch, with ratchet_tree and external_pub.
    fn group_info(&mut self) -> Outcome<Vec<u8>>;
    /// Joins by an external commit, which takes effect at once.
    fn join_externally(&mut self, group_info: &[u8], remove: Option<u32>) -> Outcome<Committed>;
    fn state(&self) -> Outcome<State>;
    fn export(&self, label: &str, context: &[u8], length: usize) -> Outcome<Vec<u8>>;
}

pub type Outcome<T> = Result<T, Failure>;

/// Why a request failed: the library's own words.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    pub fn new(text: impl Into<String>) -> Self {
        Failure(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The libraries' errors are many types; what matters here is what they say.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(format!("{error:?}"))
    }
}
