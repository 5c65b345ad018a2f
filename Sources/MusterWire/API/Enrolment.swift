/// A host becomes a node. The answer carries its first certificate: the call of amazon-ssm-agent, and what our agent adds to it.
package enum RegisterManagedInstance: Operation {
    package static let name = "RegisterManagedInstance"

    package struct Input: Codable, Sendable, Equatable, Validatable, Redacted {
        package var activationID: String?
        package var activationCode: String?
        package var fingerprint: String?
        /// Base64 of a SubjectPublicKeyInfo.
        package var publicKey: String?
        package var publicKeyType: String?
        /// Base64 of a PKCS#10 request made with the same key.
        package var certificateRequest: String?
        package var agentVersion: String?
        package var computerName: String?
        package var ipAddress: String?
        package var platformName: String?
        package var platformType: String?
        package var platformVersion: String?

        package init(
            activationID: String? = nil, activationCode: String? = nil, fingerprint: String? = nil, publicKey: String? = nil,
            publicKeyType: String? = nil, certificateRequest: String? = nil, agentVersion: String? = nil, computerName: String? = nil,
            ipAddress: String? = nil, platformName: String? = nil, platformType: String? = nil, platformVersion: String? = nil
        ) {
            self.activationID = activationID
            self.activationCode = activationCode
            self.fingerprint = fingerprint
            self.publicKey = publicKey
            self.publicKeyType = publicKeyType
            self.certificateRequest = certificateRequest
            self.agentVersion = agentVersion
            self.computerName = computerName
            self.ipAddress = ipAddress
            self.platformName = platformName
            self.platformType = platformType
            self.platformVersion = platformVersion
        }

        enum CodingKeys: String, CodingKey {
            case activationID = "ActivationId"
            case activationCode = "ActivationCode"
            case fingerprint = "Fingerprint"
            case publicKey = "PublicKey"
            case publicKeyType = "PublicKeyType"
            case certificateRequest = "CertificateRequest"
            case agentVersion = "AgentVersion"
            case computerName = "ComputerName"
            case ipAddress = "IPAddress"
            case platformName = "PlatformName"
            case platformType = "PlatformType"
            case platformVersion = "PlatformVersion"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("activationId", activationID, .required, .length(36...36))
            validation.string("activationCode", activationCode, .required, .length(20...250), secret: true)
            validation.string("fingerprint", fingerprint, .maximum(64))
            validation.string("publicKey", publicKey, .required, .length(1...2048))
            validation.string("publicKeyType", publicKeyType, .required, .oneOf(["Ec", "Rsa"]))
            validation.string("certificateRequest", certificateRequest, .length(1...8192))
            validation.string("agentVersion", agentVersion, .maximum(64))
            validation.string("computerName", computerName, .maximum(255))
            validation.string("iPAddress", ipAddress, .maximum(46))
            validation.string("platformName", platformName, .maximum(128))
            validation.string("platformType", platformType, .oneOf(["Windows", "Linux", "MacOS"]))
            validation.string("platformVersion", platformVersion, .maximum(128))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var instanceID: NodeID
        /// PEM: the leaf, then its issuer.
        package var certificate: String
        /// PEM: every authority the node is to trust from now on.
        package var certificateAuthorities: [String]
        package var generation: Int
        package var serverTime: Timestamp
        package var storeEpoch: String
        /// Of a store that was restored.
        package var storeRestoration: StoreRestoration?

        package init(
            instanceID: NodeID, certificate: String, certificateAuthorities: [String], generation: Int, serverTime: Timestamp,
            storeEpoch: String, storeRestoration: StoreRestoration? = nil
        ) {
            self.instanceID = instanceID
            self.certificate = certificate
            self.certificateAuthorities = certificateAuthorities
            self.generation = generation
            self.serverTime = serverTime
            self.storeEpoch = storeEpoch
            self.storeRestoration = storeRestoration
        }

        enum CodingKeys: String, CodingKey {
            case instanceID = "InstanceId"
            case certificate = "Certificate"
            case certificateAuthorities = "CertificateAuthorities"
            case generation = "Generation"
            case serverTime = "ServerTime"
            case storeEpoch = "StoreEpoch"
            case storeRestoration = "StoreRestoration"
        }
    }
}

/// For a node whose certificate has expired: something to sign with its key.
package enum RequestCertificateChallenge: Operation {
    package static let name = "RequestCertificateChallenge"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var instanceID: String?

        package init(instanceID: String? = nil) {
            self.instanceID = instanceID
        }

        enum CodingKeys: String, CodingKey {
            case instanceID = "InstanceId"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("instanceId", instanceID, .required, .pattern(.instanceID))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        /// Base64; good for one renewal, for a short time.
        package var nonce: String
        package var serverTime: Timestamp

        package init(nonce: String, serverTime: Timestamp) {
            self.nonce = nonce
            self.serverTime = serverTime
        }

        enum CodingKeys: String, CodingKey {
            case nonce = "Nonce"
            case serverTime = "ServerTime"
        }
    }
}

/// A new certificate for the key the node has. With a valid client certificate nonce and signature are not needed.
package enum RenewManagedInstanceCertificate: Operation {
    package static let name = "RenewManagedInstanceCertificate"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var instanceID: String?
        package var certificateRequest: String?
        package var nonce: String?
        /// Base64 of the ECDSA signature over ``proof(instanceID:generation:nonce:)``.
        package var signature: String?
        package var generation: Int?

        package init(
            instanceID: String? = nil, certificateRequest: String? = nil, nonce: String? = nil, signature: String? = nil,
            generation: Int? = nil
        ) {
            self.instanceID = instanceID
            self.certificateRequest = certificateRequest
            self.nonce = nonce
            self.signature = signature
            self.generation = generation
        }

        enum CodingKeys: String, CodingKey {
            case instanceID = "InstanceId"
            case certificateRequest = "CertificateRequest"
            case nonce = "Nonce"
            case signature = "Signature"
            case generation = "Generation"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("instanceId", instanceID, .required, .pattern(.instanceID))
            validation.string("certificateRequest", certificateRequest, .required, .length(1...8192))
            validation.string("nonce", nonce, .length(1...128))
            validation.string("signature", signature, .length(1...512))
            validation.required("generation", generation)
            validation.integer("generation", generation, 0...Int(Int32.max))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var instanceID: NodeID
        /// PEM: the leaf, then its issuer.
        package var certificate: String
        /// PEM: every authority the node is to trust from now on.
        package var certificateAuthorities: [String]
        package var generation: Int
        package var serverTime: Timestamp
        package var storeEpoch: String
        /// Of a store that was restored.
        package var storeRestoration: StoreRestoration?

        package init(
            instanceID: NodeID, certificate: String, certificateAuthorities: [String], generation: Int, serverTime: Timestamp,
            storeEpoch: String, storeRestoration: StoreRestoration? = nil
        ) {
            self.instanceID = instanceID
            self.certificate = certificate
            self.certificateAuthorities = certificateAuthorities
            self.generation = generation
            self.serverTime = serverTime
            self.storeEpoch = storeEpoch
            self.storeRestoration = storeRestoration
        }

        enum CodingKeys: String, CodingKey {
            case instanceID = "InstanceId"
            case certificate = "Certificate"
            case certificateAuthorities = "CertificateAuthorities"
            case generation = "Generation"
            case serverTime = "ServerTime"
            case storeEpoch = "StoreEpoch"
            case storeRestoration = "StoreRestoration"
        }
    }
}

extension RenewManagedInstanceCertificate {
    /// The bytes a node signs to renew without a client certificate.
    package static func proof(instanceID: NodeID, generation: Int, nonce: String) -> [UInt8] {
        Array("muster-renewal\n\(instanceID)\n\(generation)\n\(nonce)".utf8)
    }
}

/// The heartbeat of a node.
package enum UpdateInstanceInformation: Operation {
    package static let name = "UpdateInstanceInformation"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var agentName: String?
        package var agentStatus: String?
        package var agentVersion: String?
        package var computerName: String?
        package var ipAddress: String?
        package var instanceID: String?
        package var platformName: String?
        package var platformType: String?
        package var platformVersion: String?
        package var ssmConnectionChannel: String?

        package init(
            agentName: String? = nil, agentStatus: String? = nil, agentVersion: String? = nil, computerName: String? = nil,
            ipAddress: String? = nil, instanceID: String? = nil, platformName: String? = nil, platformType: String? = nil,
            platformVersion: String? = nil, ssmConnectionChannel: String? = nil
        ) {
            self.agentName = agentName
            self.agentStatus = agentStatus
            self.agentVersion = agentVersion
            self.computerName = computerName
            self.ipAddress = ipAddress
            self.instanceID = instanceID
            self.platformName = platformName
            self.platformType = platformType
            self.platformVersion = platformVersion
            self.ssmConnectionChannel = ssmConnectionChannel
        }

        enum CodingKeys: String, CodingKey {
            case agentName = "AgentName"
            case agentStatus = "AgentStatus"
            case agentVersion = "AgentVersion"
            case computerName = "ComputerName"
            case ipAddress = "IPAddress"
            case instanceID = "InstanceId"
            case platformName = "PlatformName"
            case platformType = "PlatformType"
            case platformVersion = "PlatformVersion"
            case ssmConnectionChannel = "SSMConnectionChannel"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("agentName", agentName, .maximum(64))
            validation.string("agentStatus", agentStatus, .maximum(64))
            validation.string("instanceId", instanceID, .required, .pattern(.instanceID))
            validation.string("sSMConnectionChannel", ssmConnectionChannel, .maximum(64))
            validation.string("agentVersion", agentVersion, .maximum(64))
            validation.string("computerName", computerName, .maximum(255))
            validation.string("iPAddress", ipAddress, .maximum(46))
            validation.string("platformName", platformName, .maximum(128))
            validation.string("platformType", platformType, .oneOf(["Windows", "Linux", "MacOS"]))
            validation.string("platformVersion", platformVersion, .maximum(128))
        }
    }

    package struct Output: Codable, Sendable, Equatable {
        package var serverTime: Timestamp?

        package init(serverTime: Timestamp? = nil) {
            self.serverTime = serverTime
        }

        enum CodingKeys: String, CodingKey {
            case serverTime = "ServerTime"
        }
    }
}
