//! An agent on mls-rs.

use std::time::Duration;

use mls_rs::client_builder::{MlsConfig, PaddingMode};
use mls_rs::extension::ExtensionType;
use mls_rs::extension::recommended::LastResortKeyPackageExt;
use mls_rs::external_client::ExternalClient;
use mls_rs::group::proposal::ProposalType;
use mls_rs::group::{CommitEffect, ReceivedMessage};
use mls_rs::identity::SigningIdentity;
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions};
use mls_rs::time::MlsTime;
use mls_rs::{CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use crate::agent::{Agent, Change, Committed, Failure, KeyPackage, Options, Outcome, Received, State};

/// The library's default of a year is longer than a delivery service takes.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

struct MlsRs<C: MlsConfig> {
    client: Client<C>,
    suite: CipherSuite,
    signature_key: Vec<u8>,
    group: Option<Group<C>>,
}

pub fn new(options: &Options) -> Outcome<Box<dyn Agent>> {
    let crypto = RustCryptoProvider::default();
    let suite = CipherSuite::new(options.suite);
    let provider = crypto.cipher_suite_provider(suite).ok_or_else(|| Failure::new("unsupported cipher suite"))?;
    let (secret, public) = provider.signature_key_generate()?;
    let signature_key = public.to_vec();
    let credential = BasicCredential::new(options.identity.clone().into_bytes()).into_credential();
    let rules = DefaultMlsRules::new()
        .with_commit_options(
            CommitOptions::new()
                .with_path_required(true)
                .with_ratchet_tree_extension(true)
                .with_single_welcome_message(true)
                .with_allow_external_commit(true),
        )
        .with_encryption_options(EncryptionOptions::new(!options.public, PaddingMode::default()));
    let mut builder = Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(crypto)
        .mls_rules(rules)
        .key_package_lifetime(LIFETIME)
        .extension_type(ExtensionType::LAST_RESORT_KEY_PACKAGE);
    if options.self_remove {
        builder = builder.custom_proposal_type(ProposalType::SELF_REMOVE);
    }
    let client = builder.signing_identity(SigningIdentity::new(credential, public), secret, suite).build();
    Ok(Box::new(MlsRs { client, suite, signature_key, group: None }))
}

/// Judges a key package as one does that adds its owner.
pub fn check_key_package(bytes: &[u8]) -> Outcome<()> {
    let client = ExternalClient::builder()
        .crypto_provider(RustCryptoProvider::default())
        .identity_provider(BasicIdentityProvider)
        .build();
    client.validate_key_package(MlsMessage::from_bytes(bytes)?, Some(MlsTime::now()))?;
    Ok(())
}

fn no_group() -> Failure {
    Failure::new("the agent is in no group")
}

impl<C: MlsConfig> MlsRs<C> {
    fn group(&self) -> Outcome<&Group<C>> {
        self.group.as_ref().ok_or_else(no_group)
    }

    fn group_mut(&mut self) -> Outcome<&mut Group<C>> {
        self.group.as_mut().ok_or_else(no_group)
    }
}

impl<C: MlsConfig> Agent for MlsRs<C> {
    fn signature_key(&self) -> Outcome<Vec<u8>> {
        Ok(self.signature_key.clone())
    }

    fn key_package(&mut self, last_resort: bool) -> Outcome<KeyPackage> {
        let mut extensions = ExtensionList::new();
        if last_resort {
            extensions.set_from(LastResortKeyPackageExt)?;
        }
        let package = self.client.generate_key_package_message(extensions, ExtensionList::new(), None)?;
        let provider = RustCryptoProvider::default()
            .cipher_suite_provider(self.suite)
            .ok_or_else(|| Failure::new("unsupported cipher suite"))?;
        let reference =
            package.key_package_reference(&provider)?.ok_or_else(|| Failure::new("the package has no reference"))?;
        Ok(KeyPackage { bytes: package.to_bytes()?, reference: reference.to_vec() })
    }

    fn create(&mut self, group_id: &[u8]) -> Outcome<()> {
        let none = ExtensionList::new;
        self.group = Some(self.client.create_group_with_id(group_id.to_vec(), none(), none(), None)?);
        Ok(())
    }

    fn commit(&mut self, change: &Change) -> Outcome<Committed> {
        let packages = change.packages()?;
        let mut builder = self.group_mut()?.commit_builder();
        for bytes in packages {
            builder = builder.add_member(MlsMessage::from_bytes(&bytes)?)?;
        }
        for leaf in &change.remove {
            builder = builder.remove_member(*leaf)?;
        }
        let output = builder.build()?;
        Ok(Committed {
            commit: output.commit_message().to_bytes()?,
            welcomes: output.welcome_messages().iter().map(|w| w.to_bytes()).collect::<Result<_, _>>()?,
            group_info: output.external_commit_group_info().map(|g| g.to_bytes()).transpose()?,
        })
    }

    fn merge(&mut self) -> Outcome<u64> {
        let group = self.group_mut()?;
        group.apply_pending_commit()?;
        Ok(group.current_epoch())
    }

    fn discard(&mut self) -> Outcome<()> {
        self.group_mut()?.clear_pending_commit();
        Ok(())
    }

    fn join(&mut self, welcome: &[u8]) -> Outcome<u64> {
        let (group, _) = self.client.join_group(None, &MlsMessage::from_bytes(welcome)?, None)?;
        let epoch = group.current_epoch();
        self.group = Some(group);
        Ok(epoch)
    }

    fn text(&mut self, text: &str) -> Outcome<Vec<u8>> {
        Ok(self.group_mut()?.encrypt_application_message(text.as_bytes(), Vec::new())?.to_bytes()?)
    }

    fn process(&mut self, message: &[u8]) -> Outcome<Received> {
        let group = self.group_mut()?;
        Ok(match group.process_incoming_message(MlsMessage::from_bytes(message)?)? {
            ReceivedMessage::ApplicationMessage(text) => {
                Received::Text { text: String::from_utf8_lossy(text.data()).into_owned() }
            }
            ReceivedMessage::Proposal(_) => Received::Proposal,
            ReceivedMessage::Commit(commit) => Received::Commit {
                epoch: group.current_epoch(),
                member: !matches!(commit.effect, CommitEffect::Removed { .. }),
            },
            _ => Received::Other,
        })
    }

    fn propose_remove(&mut self, leaf: u32) -> Outcome<Vec<u8>> {
        Ok(self.group_mut()?.propose_remove(leaf, Vec::new())?.to_bytes()?)
    }

    fn self_remove(&mut self) -> Outcome<Vec<u8>> {
        Ok(self.group_mut()?.propose_self_remove(Vec::new())?.to_bytes()?)
    }

    fn group_info(&mut self) -> Outcome<Vec<u8>> {
        Ok(self.group()?.group_info_message_allowing_ext_commit(true)?.to_bytes()?)
    }

    fn join_externally(&mut self, group_info: &[u8], remove: Option<u32>) -> Outcome<Committed> {
        let mut builder = self.client.external_commit_builder()?;
        if let Some(leaf) = remove {
            builder = builder.with_removal(leaf);
        }
        let (group, commit) = builder.build(MlsMessage::from_bytes(group_info)?)?;
        let committed = Committed {
            commit: commit.to_bytes()?,
            welcomes: Vec::new(),
            group_info: Some(group.group_info_message_allowing_ext_commit(true)?.to_bytes()?),
        };
        self.group = Some(group);
        Ok(committed)
    }

    fn state(&self) -> Outcome<State> {
        let group = self.group()?;
        let name = |identity: &SigningIdentity| match identity.credential.as_basic() {
            Some(basic) => String::from_utf8_lossy(basic.identifier()).into_owned(),
            None => String::new(),
        };
        Ok(State {
            epoch: group.current_epoch(),
            own: group.current_member_index(),
            members: group.roster().members_iter().map(|m| (m.index, name(&m.signing_identity))).collect(),
            authenticator: group.epoch_authenticator()?.as_bytes().to_vec(),
        })
    }

    fn export(&self, label: &str, context: &[u8], length: usize) -> Outcome<Vec<u8>> {
        Ok(self.group()?.export_secret(label.as_bytes(), context, length)?.as_bytes().to_vec())
    }
}
