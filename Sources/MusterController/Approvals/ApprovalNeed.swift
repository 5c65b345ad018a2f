/// A call that others have to agree to, as far as it came. [value]
package struct ApprovalNeed: Sendable, Hashable {
    package let requirements: [ApprovalRequirement]
    package let subject: ApprovalSubject
    package let reason: String
    package let principal: Principal
    package let account: String

    /// What the caller has to add before anybody is asked; nil if nothing.
    package var missing: String? {
        if reason.isEmpty, requirements.contains(where: { $0.needsReason || $0.ticket != .notNeeded }) {
            return "it has to be given a reason (--reason; for commands --comment)"
        }
        for requirement in requirements where requirement.ticket.named(in: reason) == nil {
            guard case .matching(let pattern) = requirement.ticket else { return "its reason has to name a ticket, as OPS-12" }
            return "its reason has to name a ticket, like \(pattern)"
        }
        return nil
    }
}
