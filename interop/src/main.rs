//! OpenMLS and mls-rs behind one interface: a request in JSON on each line of standard input, an
//! answer in JSON on each line of standard output. Bytes are hex. It speaks no network: whoever
//! drives it carries the bytes to a delivery service and back.

mod agent;
mod with_mls_rs;
mod with_openmls;

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use agent::{Agent, Change, Failure, Options, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};

/// What can be asked. `agent` is the number that `new` answered.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Request {
    New(Options),
    Drop { agent: u64 },
    SignatureKey { agent: u64 },
    KeyPackage { agent: u64, #[serde(default)] last_resort: bool },
    Create { agent: u64, #[serde(with = "hex")] group_id: Vec<u8> },
    Commit { agent: u64, #[serde(flatten)] change: Change },
    Merge { agent: u64 },
    Discard { agent: u64 },
    Join { agent: u64, #[serde(with = "hex")] welcome: Vec<u8> },
    Text { agent: u64, text: String },
    Process { agent: u64, #[serde(with = "hex")] message: Vec<u8> },
    ProposeRemove { agent: u64, leaf: u32 },
    SelfRemove { agent: u64 },
    GroupInfo { agent: u64 },
    JoinExternally { agent: u64, #[serde(with = "hex")] group_info: Vec<u8>, remove: Option<u32> },
    State { agent: u64 },
    Export { agent: u64, label: String, #[serde(with = "hex")] context: Vec<u8>, length: usize },
    CheckKeyPackage { #[serde(with = "hex")] key_package: Vec<u8> },
}

/// The agents of this process, by number.
#[derive(Default)]
struct Agents {
    last: u64,
    all: HashMap<u64, Box<dyn Agent>>,
}

impl Agents {
    fn get(&mut self, number: u64) -> Result<&mut Box<dyn Agent>, Failure> {
        self.all.get_mut(&number).ok_or_else(|| Failure::new("there is no such agent"))
    }

    fn answer(&mut self, request: Request) -> Outcome<Value> {
        use Request::*;
        Ok(match request {
            New(options) => {
                let made = match options.library.as_str() {
                    "openmls" => with_openmls::new(&options)?,
                    "mls-rs" => with_mls_rs::new(&options)?,
                    _ => return Err(Failure::new("library must be openmls or mls-rs")),
                };
                self.last += 1;
                self.all.insert(self.last, made);
                json!({ "agent": self.last })
            }
            Drop { agent } => {
                self.all.remove(&agent);
                json!({})
            }
            SignatureKey { agent } => json!({ "bytes": hex::encode(self.get(agent)?.signature_key()?) }),
            KeyPackage { agent, last_resort } => self.get(agent)?.key_package(last_resort)?.json(),
            Create { agent, group_id } => {
                self.get(agent)?.create(&group_id)?;
                json!({})
            }
            Commit { agent, change } => self.get(agent)?.commit(&change)?.json(),
            Merge { agent } => json!({ "epoch": self.get(agent)?.merge()? }),
            Discard { agent } => {
                self.get(agent)?.discard()?;
                json!({})
            }
            Join { agent, welcome } => json!({ "epoch": self.get(agent)?.join(&welcome)? }),
            Text { agent, text } => json!({ "bytes": hex::encode(self.get(agent)?.text(&text)?) }),
            Process { agent, message } => self.get(agent)?.process(&message)?.json(),
            ProposeRemove { agent, leaf } => json!({ "bytes": hex::encode(self.get(agent)?.propose_remove(leaf)?) }),
            SelfRemove { agent } => json!({ "bytes": hex::encode(self.get(agent)?.self_remove()?) }),
            GroupInfo { agent } => json!({ "bytes": hex::encode(self.get(agent)?.group_info()?) }),
            JoinExternally { agent, group_info, remove } => {
                self.get(agent)?.join_externally(&group_info, remove)?.json()
            }
            State { agent } => self.get(agent)?.state()?.json(),
            Export { agent, label, context, length } => {
                json!({ "bytes": hex::encode(self.get(agent)?.export(&label, &context, length)?) })
            }
            CheckKeyPackage { key_package } => json!({
                "openmls": with_openmls::check_key_package(&key_package).err().map(|e| e.to_string()),
                "mls-rs": with_mls_rs::check_key_package(&key_package).err().map(|e| e.to_string()),
            }),
        })
    }
}

fn main() -> io::Result<()> {
    let mut agents = Agents::default();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        let answer = match serde_json::from_str::<Request>(&line) {
            // A library that panics on some bytes has refused them; the other agents live on.
            Ok(request) => catch_unwind(AssertUnwindSafe(|| agents.answer(request)))
                .unwrap_or_else(|_| Err(Failure::new("the library panicked"))),
            Err(error) => Err(Failure::from(error)),
        };
        let answer = answer.unwrap_or_else(|failure| json!({ "error": failure.to_string() }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
