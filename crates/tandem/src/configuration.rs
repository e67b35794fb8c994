//! The configuration of the cluster, its parameters and the audit, as the API sees them.

use crate::control::{NodeControl, node_state, timestamp};
use tandem_admin::{
    AuditFilter, AuditView, Audited, ConfigurationView, ParameterChange, ParameterView, PushProblem,
    PushRequest, RevisionText, RevisionView, RunView,
};
use tandem_config::{with_parameter, without_secrets};
use tandem_node::{AuditEntry, ConfigRevision, Push, PushError};
use tandem_switch::parameters::Parameters;

impl NodeControl {
    pub(crate) async fn configuration_view(&self) -> Option<ConfigurationView> {
        let nodes = self.node.nodes().await.ok()?;
        let run = |node: &tandem_node::NodeReport| RunView {
            node: node.name.to_string(),
            state: node_state(node),
            revision: node.config_revision,
        };
        let revision = self.node.config_revision().as_ref().map(revision_view);
        Some(ConfigurationView { revision, nodes: nodes.iter().map(run).collect() })
    }

    pub(crate) async fn revision_views(&self) -> Option<Vec<RevisionView>> {
        Some(self.node.config_revisions().await.ok()?.iter().map(revision_view).collect())
    }

    pub(crate) async fn revision_text(
        &self,
        number: u64,
        secrets: bool,
    ) -> Result<RevisionText, PushProblem> {
        let (revision, text) = self.node.config_text(number).await.map_err(problem)?;
        let text = if secrets { text.to_string() } else { without_secrets(&text) };
        Ok(RevisionText { revision: revision_view(&revision), text })
    }

    pub(crate) async fn push_request(&self, request: PushRequest) -> Result<RevisionView, PushProblem> {
        let text = match (request.text, request.restores) {
            (Some(text), _) => text,
            (None, number) => {
                let (_, text) = self.node.config_text(number.unwrap_or_default()).await.map_err(problem)?;
                text.to_string()
            }
        };
        let PushRequest { by, comment, seen, restores, dry_run, .. } = request;
        let push = Push { text, by, comment, seen, restores, dry_run };
        self.node.push_config(push).await.map(|revision| revision_view(&revision)).map_err(problem)
    }

    pub(crate) fn parameter_views(&self) -> Vec<ParameterView> {
        let parameters = self.node.parameters();
        let view = |effective: tandem_switch::parameters::Effective| ParameterView {
            name: effective.name().to_owned(),
            unit: effective.unit().to_string(),
            default: effective.definition.default_value(),
            acted_on: effective.definition.acted_on,
            description: effective.definition.description.to_owned(),
            value: effective.value,
        };
        parameters.effective().into_iter().map(view).collect()
    }

    pub(crate) async fn change_parameter(
        &self,
        name: String,
        change: ParameterChange,
    ) -> Result<RevisionView, PushProblem> {
        if !Parameters::default().effective().iter().any(|effective| effective.name() == name) {
            return Err(PushProblem::NotFound(format!("there is no parameter {name}")));
        }
        let Some(current) = self.node.config_revision() else {
            let why = "there is no configuration in common yet: push one, or change the node's file";
            return Err(PushProblem::Conflict(why.to_owned()));
        };
        let (_, text) = self.node.config_text(current.number).await.map_err(problem)?;
        let text = with_parameter(&text, &name, change.value.as_deref());
        let text = text.map_err(|errors| {
            PushProblem::Refused(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        let comment = match (&change.value, change.comment.is_empty()) {
            (_, false) => change.comment,
            (Some(value), true) => format!("{name} = {value}"),
            (None, true) => format!("{name}: the default"),
        };
        let push = Push { text, by: change.by, comment, seen: Some(current.number), ..Push::default() };
        self.node.push_config(push).await.map(|revision| revision_view(&revision)).map_err(problem)
    }

    pub(crate) async fn audit_views(&self, filter: AuditFilter) -> Option<Vec<AuditView>> {
        let entries = self.node.audit(filter.after.as_deref(), filter.page_size()).await.ok()?;
        let view = |(id, entry): (std::sync::Arc<str>, AuditEntry)| AuditView {
            id: id.to_string(),
            at: timestamp(entry.at),
            node: entry.node,
            by: entry.by,
            from: entry.from,
            request: entry.request,
            detail: entry.detail,
            status: entry.status,
        };
        Some(entries.into_iter().map(view).collect())
    }

    pub(crate) async fn note(&self, audited: Audited) {
        let Audited { by, from, request, detail, status } = audited;
        let (at, node) = (self.node.now().wall, self.node.name().to_owned());
        self.node.note_audit(&AuditEntry { at, node, by, from, request, detail, status }).await;
    }
}

fn revision_view(revision: &ConfigRevision) -> RevisionView {
    RevisionView {
        revision: revision.number,
        at: timestamp(revision.at),
        by: revision.by.clone(),
        comment: revision.comment.clone(),
        digest: revision.digest.clone(),
        bytes: revision.bytes,
        restores: revision.restores,
    }
}

fn problem(error: PushError) -> PushProblem {
    let said = error.to_string();
    match error {
        PushError::Refused(refusals) => {
            let lines = refusals.iter().flat_map(|refusal| {
                refusal.errors.iter().map(|error| format!("\n{}: {error}", refusal.node))
            });
            PushProblem::Refused(format!("{said}{}", lines.collect::<String>()))
        }
        PushError::TooLong { .. } => PushProblem::Refused(said),
        PushError::NotShared | PushError::Overtaken { .. } | PushError::Busy => PushProblem::Conflict(said),
        PushError::NoRevision(_) => PushProblem::NotFound(said),
        PushError::Silent(_) | PushError::Store(_) => PushProblem::Away(said),
    }
}
