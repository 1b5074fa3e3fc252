package api

import (
	"net/http"
)

// routes mounts every operation: this is the API on one screen.
func (a *API) routes() {
	a.mountOrganizations()
	a.mountOrganizationUsers()
	a.mountInvitations()
	a.mountServiceAccounts()
	a.mountSSO()
	a.mountKeyPolicy()

	zones.mountAll(a, list, get, remove)
	mount(a, zones.operation(create), a.createZone)
	mount(a, zones.operation(patch), a.patchZone)
	zoneMembers.mountAll(a, list, get, create, patch, remove)

	applications.mountAll(a, list, get, patch, remove)
	mount(a, applications.operation(create), a.createApplication)
	a.mountDependencies()
	mount(a, operation{
		ID: "list-application-resources", Method: http.MethodGet, Path: "/zones/{zone_id}/applications/{id}/resources", Action: "resources:list",
		Tag: resources.Tag, Summary: "List the resources that an application provides", Status: http.StatusOK, Query: plainList.document(),
	}, a.listResourcesOf)

	credentials.mountAll(a, list, get, patch, remove)
	mount(a, credentials.operation(create), a.createCredential)
	mount(a, operation{
		ID: "list-credentials-of-application", Method: http.MethodGet, Path: "/zones/{zone_id}/applications/{id}/application-credentials",
		Action: "application_credentials:list", Tag: credentials.Tag, Summary: "List the credentials of an application",
		Status: http.StatusOK, Query: plainList.document(),
	}, a.listCredentialsOf)

	providers.mountAll(a, list, get, remove)
	mount(a, providers.operation(create), a.createProvider)
	mount(a, providers.operation(patch), a.patchProvider)

	resources.mountAll(a, list, get, create, patch, remove)

	a.mountUsers()
	a.mountZoneInvitations()
	a.mountSessions()
	userAgents.mountAll(a, list, get)
	a.mountGrants()
	a.mountSecrets()
	roles.mountAll(a, list, get, create, patch, remove)
	roleAssignments.mountAll(a, list, get, create, remove)
	groups.mountAll(a, list, get, create, patch, remove)
	a.mountGroupMembers()

	a.mountPolicySchemas()
	policies.mountAll(a, list, get, create, patch)
	mount(a, tagged(archiving(policies.operation(remove), "policy", "policies:archive")), a.archivePolicy)

	policyVersions.mountAll(a, list)
	mount(a, formatted(policyVersions.operation(get)), a.getPolicyVersion)
	mount(a, policyVersions.operation(create), a.createPolicyVersion)
	mount(a, archiving(policyVersions.operation(remove), "policy-version", "policy_versions:archive"), a.archivePolicyVersion)

	a.mountPolicyDrafts()

	policySets.mountAll(a, list, get, patch)
	mount(a, policySets.operation(create), a.createPolicySet)
	mount(a, tagged(archiving(policySets.operation(remove), "policy-set", "policy_sets:archive")), a.archivePolicySet)

	a.mountShadow()

	policySetVersions.mountAll(a, list, get)
	mount(a, policySetVersions.operation(create), a.createSetVersion)
	activate := policySetVersions.operation(patch)
	activate.ID, activate.Action, activate.Summary = "activate-policy-set-version", "policy_set_versions:activate", "Make a policy set version the zone's active one"
	activate.Doc = "It decides for every request from now on; whatever was active before is unbound. An older version may be activated again."
	mount(a, activate, a.activateSetVersion)
	mount(a, archiving(policySetVersions.operation(remove), "policy-set-version", "policy_set_versions:archive"), a.archiveSetVersion)
	mount(a, operation{
		ID: "list-policies-of-policy-set-version", Method: http.MethodGet, Path: policySetVersions.Path + "/{version_id}/policies",
		Action: "policy_versions:list", Tag: policySetVersions.Tag, Summary: "List the policy versions that a policy set version pins",
		Status: http.StatusOK, Query: pinnedList.document(), Headers: policyHeaders,
	}, a.listPinned)
	a.mountAttestation()
	a.mountPolicySetDrafts()
	a.mountBundles()

	a.mountTrials()
	a.mountReplays()
	a.mountEvaluations()

	a.mountPackages()
	a.mountInstalls()

	a.mountAudit()
}

// archiving turns a removal into one that answers with what was archived.
func archiving(o operation, id, action string) operation {
	o.ID, o.Action, o.Status = "archive-"+id, action, http.StatusOK
	o.Summary = "Archive" + o.Summary[len("Delete"):]
	o.Doc = "It is closed for good, keeps what it holds, and leaves the lists; it can still be read."
	return o
}

// tagged adds what archiving takes and gives of what has an ETag.
func tagged(o operation) operation {
	o.ETag = true
	o.Errors = append(o.Errors, http.StatusConflict, http.StatusPreconditionFailed)
	o.Headers = append(o.Headers[:len(o.Headers):len(o.Headers)], ifMatchHeader)
	return o
}

// formatted adds the choice of a policy's form.
func formatted(o operation) operation {
	o.Query = append(o.Query, formatParameter.document())
	return o
}
