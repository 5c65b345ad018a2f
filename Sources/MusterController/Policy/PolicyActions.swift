internal import MusterWire

/// The actions that a policy may name: those of everything that is served, and of Systems Manager those that are not served yet as well, so
/// that policies can be brought along. A misspelt one would allow or forbid nothing, and is refused. [value]
package enum PolicyActions {
    package static let all = Set(
        OperationCatalog.all.map { "ssm:\($0)" } + iam.map { "iam:\($0)" } + sts.map { "sts:\($0)" } + muster.map { "muster:\($0)" }
            + ["cloudtrail:LookupEvents"])

    private static let sts = ["AssumeRole", "GetCallerIdentity", "GetSessionToken"]
    private static let muster = [
        "ExportAuditTrail", "GetApproval", "GetAuthorities", "GetCommandOutput", "GetRecording", "GrantApproval", "ListApprovals",
        "ListRecordings", "RefuseApproval", "RevokeApproval", "SimulatePolicy",
    ]
    private static let iam = [
        "AddUserToGroup", "AttachGroupPolicy", "AttachUserPolicy", "CreateAccessKey", "CreateGroup", "CreatePolicy", "CreatePolicyVersion",
        "CreateUser", "DeleteAccessKey", "DeleteGroup", "DeleteGroupPolicy", "DeleteLoginProfile", "DeletePolicy", "DeleteUser",
        "DeleteUserPolicy", "DetachGroupPolicy", "DetachUserPolicy", "GetAccessKeyLastUsed", "GetGroup", "GetGroupPolicy",
        "GetLoginProfile", "GetPolicy", "GetPolicyVersion", "GetUser", "GetUserPolicy", "ListAccessKeys", "ListAttachedGroupPolicies",
        "ListAttachedUserPolicies", "ListEntitiesForPolicy", "ListGroupPolicies", "ListGroups", "ListGroupsForUser", "ListMFADevices",
        "ListPolicies", "ListPolicyVersions", "ListSSHPublicKeys", "ListServiceSpecificCredentials", "ListSigningCertificates",
        "ListUserPolicies", "ListUserTags", "ListUsers", "ListVirtualMFADevices", "PutGroupPolicy", "PutUserPolicy", "RemoveUserFromGroup",
        "TagUser", "UntagUser", "UpdateAccessKey",
    ]
}
