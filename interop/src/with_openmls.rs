//! An agent on OpenMLS.

use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::*;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

use crate::agent::{self, Agent, Change, Committed, Failure, Options, Outcome, Received, State};

/// How many past epochs' texts can still be read.
const PAST_EPOCHS: usize = 5;

struct OpenMls {
    provider: OpenMlsRustCrypto,
    suite: Ciphersuite,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
    wire_format: WireFormatPolicy,
    self_remove: bool,
    group: Option<MlsGroup>,
}

pub fn new(options: &Options) -> Outcome<Box<dyn Agent>> {
    let provider = OpenMlsRustCrypto::default();
    let suite = Ciphersuite::try_from(options.suite)?;
    provider.crypto().supports(suite)?;
    let signer = SignatureKeyPair::new(suite.signature_algorithm())?;
    signer.store(provider.storage())?;
    let credential = CredentialWithKey {
        credential: BasicCredential::new(options.identity.clone().into_bytes()).into(),
        signature_key: signer.public().into(),
    };
    let wire_format =
        if options.public { MIXED_PLAINTEXT_WIRE_FORMAT_POLICY } else { MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY };
    Ok(Box::new(OpenMls {
        provider,
        suite,
        signer,
        credential,
        wire_format,
        self_remove: options.self_remove,
        group: None,
    }))
}

/// Judges a key package as one does that adds its owner.
pub fn check_key_package(bytes: &[u8]) -> Outcome<()> {
    read_key_package(&OpenMlsRustCrypto::default(), bytes).map(|_| ())
}

fn read_key_package(provider: &OpenMlsRustCrypto, bytes: &[u8]) -> Outcome<KeyPackage> {
    match MlsMessageIn::tls_deserialize_exact(bytes)?.extract() {
        MlsMessageBodyIn::KeyPackage(package) => Ok(package.validate(provider.crypto(), ProtocolVersion::Mls10)?),
        _ => Err(Failure::new("not a key package")),
    }
}

impl OpenMls {
    fn capabilities(&self) -> Capabilities {
        let proposals = [ProposalType::SelfRemove];
        Capabilities::new(
            None,
            Some(&[self.suite]),
            Some(&[ExtensionType::LastResort]),
            self.self_remove.then_some(&proposals[..]),
            None,
        )
    }

    fn join_config(&self) -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder()
            .wire_format_policy(self.wire_format)
            .use_ratchet_tree_extension(true)
            .max_past_epochs(PAST_EPOCHS)
            .build()
    }

    fn group(&self) -> Outcome<&MlsGroup> {
        self.group.as_ref().ok_or_else(no_group)
    }
}

fn no_group() -> Failure {
    Failure::new("the agent is in no group")
}

impl Agent for OpenMls {
    fn signature_key(&self) -> Outcome<Vec<u8>> {
        Ok(self.signer.public().to_vec())
    }

    fn key_package(&mut self, last_resort: bool) -> Outcome<agent::KeyPackage> {
        let mut builder = KeyPackage::builder().leaf_node_capabilities(self.capabilities());
        if last_resort {
            builder = builder.mark_as_last_resort();
        }
        let bundle = builder.build(self.suite, &self.provider, &self.signer, self.credential.clone())?;
        let package = bundle.key_package();
        Ok(agent::KeyPackage {
            bytes: MlsMessageOut::from(package.clone()).tls_serialize_detached()?,
            reference: package.hash_ref(self.provider.crypto())?.as_slice().to_vec(),
        })
    }

    fn create(&mut self, group_id: &[u8]) -> Outcome<()> {
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(self.suite)
            .capabilities(self.capabilities())
            .wire_format_policy(self.wire_format)
            .use_ratchet_tree_extension(true)
            .max_past_epochs(PAST_EPOCHS)
            .build();
        let id = GroupId::from_slice(group_id);
        let group = MlsGroup::new_with_group_id(&self.provider, &self.signer, &config, id, self.credential.clone())?;
        self.group = Some(group);
        Ok(())
    }

    fn commit(&mut self, change: &Change) -> Outcome<Committed> {
        let mut packages = Vec::new();
        for bytes in change.packages()? {
            packages.push(read_key_package(&self.provider, &bytes)?);
        }
        let provider = &self.provider;
        let group = self.group.as_mut().ok_or_else(no_group)?;
        let bundle = group
            .commit_builder()
            .propose_adds(packages)
            .propose_removals(change.remove.iter().copied().map(LeafNodeIndex::new))
            .force_self_update(change.path)
            .load_psks(provider.storage())?
            .create_group_info(true)
            .use_ratchet_tree_extension(true)
            .build(provider.rand(), provider.crypto(), &self.signer, |_| true)?
            .stage_commit(provider)?;
        let (commit, welcome, group_info) = bundle.into_messages();
        Ok(Committed {
            commit: commit.tls_serialize_detached()?,
            welcomes: welcome.map(|w| w.tls_serialize_detached()).transpose()?.into_iter().collect(),
            group_info: group_info.map(|g| g.tls_serialize_detached()).transpose()?,
        })
    }

    fn merge(&mut self) -> Outcome<u64> {
        let group = self.group.as_mut().ok_or_else(no_group)?;
        group.merge_pending_commit(&self.provider)?;
        Ok(group.epoch().as_u64())
    }

    fn discard(&mut self) -> Outcome<()> {
        self.group.as_mut().ok_or_else(no_group)?.clear_pending_commit(self.provider.storage())?;
        Ok(())
    }

    fn join(&mut self, welcome: &[u8]) -> Outcome<u64> {
        let MlsMessageBodyIn::Welcome(welcome) = MlsMessageIn::tls_deserialize_exact(welcome)?.extract() else {
            return Err(Failure::new("not a Welcome"));
        };
        // A client that is added again keeps the state of its former membership until then.
        if let Some(mut old) = self.group.take() {
            old.delete(self.provider.storage())?;
        }
        let staged = StagedWelcome::new_from_welcome(&self.provider, &self.join_config(), welcome, None)?;
        let group = staged.into_group(&self.provider)?;
        let epoch = group.epoch().as_u64();
        self.group = Some(group);
        Ok(epoch)
    }

    fn text(&mut self, text: &str) -> Outcome<Vec<u8>> {
        let group = self.group.as_mut().ok_or_else(no_group)?;
        let message = group.create_message(&self.provider, &self.signer, text.as_bytes())?;
        Ok(message.tls_serialize_detached()?)
    }

    fn process(&mut self, message: &[u8]) -> Outcome<Received> {
        let message = MlsMessageIn::tls_deserialize_exact(message)?.try_into_protocol_message()?;
        let provider = &self.provider;
        let group = self.group.as_mut().ok_or_else(no_group)?;
        Ok(match group.process_message(provider, message)?.into_content() {
            ProcessedMessageContent::ApplicationMessage(text) => {
                Received::Text { text: String::from_utf8_lossy(&text.into_bytes()).into_owned() }
            }
            ProcessedMessageContent::ProposalMessage(proposal)
            | ProcessedMessageContent::ExternalJoinProposalMessage(proposal) => {
                group.store_pending_proposal(provider.storage(), *proposal)?;
                Received::Proposal
            }
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                group.merge_staged_commit(provider, *commit)?;
                Received::Commit { epoch: group.epoch().as_u64(), member: group.is_active() }
            }
            _ => Received::Other,
        })
    }

    fn propose_remove(&mut self, leaf: u32) -> Outcome<Vec<u8>> {
        let group = self.group.as_mut().ok_or_else(no_group)?;
        let (message, _) = group.propose_remove_member(&self.provider, &self.signer, LeafNodeIndex::new(leaf))?;
        Ok(message.tls_serialize_detached()?)
    }

    fn self_remove(&mut self) -> Outcome<Vec<u8>> {
        let group = self.group.as_mut().ok_or_else(no_group)?;
        Ok(group.leave_group_via_self_remove(&self.provider, &self.signer)?.tls_serialize_detached()?)
    }

    fn group_info(&mut self) -> Outcome<Vec<u8>> {
        let message = self.group()?.export_group_info(self.provider.crypto(), &self.signer, true)?;
        Ok(message.tls_serialize_detached()?)
    }

    fn join_externally(&mut self, group_info: &[u8], _remove: Option<u32>) -> Outcome<Committed> {
        let MlsMessageBodyIn::GroupInfo(info) = MlsMessageIn::tls_deserialize_exact(group_info)?.extract() else {
            return Err(Failure::new("not a GroupInfo"));
        };
        // OpenMLS removes the old leaf with the same signature key by itself. It wants an empty storage.
        self.provider = OpenMlsRustCrypto::default();
        self.signer.store(self.provider.storage())?;
        let leaf = LeafNodeParameters::builder().with_capabilities(self.capabilities()).build();
        let (group, bundle) = ExternalCommitBuilder::new()
            .with_config(self.join_config())
            .build_group(&self.provider, info, self.credential.clone())?
            .leaf_node_parameters(leaf)
            .load_psks(self.provider.storage())?
            .create_group_info(true)
            .use_ratchet_tree_extension(true)
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)?
            .finalize(&self.provider)?;
        self.group = Some(group);
        let (commit, _, group_info) = bundle.into_messages();
        Ok(Committed {
            commit: commit.tls_serialize_detached()?,
            welcomes: Vec::new(),
            group_info: group_info.map(|g| g.tls_serialize_detached()).transpose()?,
        })
    }

    fn state(&self) -> Outcome<State> {
        let group = self.group()?;
        Ok(State {
            epoch: group.epoch().as_u64(),
            own: group.own_leaf_index().u32(),
            members: group
                .members()
                .map(|m| (m.index.u32(), String::from_utf8_lossy(m.credential.serialized_content()).into_owned()))
                .collect(),
            authenticator: group.epoch_authenticator().as_slice().to_vec(),
        })
    }

    fn export(&self, label: &str, context: &[u8], length: usize) -> Outcome<Vec<u8>> {
        Ok(self.group()?.export_secret(self.provider.crypto(), label, context, length)?)
    }
}
