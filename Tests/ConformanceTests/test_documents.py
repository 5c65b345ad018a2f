"""Operators' own Session documents, and the preferences of sessions, as boto3 sees them."""

import hashlib
import json

import pytest

from test_run_command import code_of


def content(minutes, **more):
    return json.dumps({"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": {"idleSessionTimeout": str(minutes), **more}})


@pytest.fixture
def document(ssm):
    name = "Team-Shell"
    ssm.create_document(Name=name, DocumentType="Session", DocumentFormat="JSON", Content=content(5), Tags=[{"Key": "team", "Value": "a"}])
    yield name
    ssm.delete_document(Name=name)


def test_life_of_a_document(ssm, document):
    described = ssm.describe_document(Name=document)["Document"]
    assert (described["Status"], described["DocumentType"], described["SchemaVersion"]) == ("Active", "Session", "1.0")
    assert described["Hash"] == hashlib.sha256(content(5).encode()).hexdigest()
    assert code_of(ssm.create_document, Name=document, DocumentType="Session", Content=content(5)) == "DocumentAlreadyExists"

    updated = ssm.update_document(Name=document, Content=content(6), DocumentVersion="$LATEST", VersionName="six")["DocumentDescription"]
    assert (updated["DocumentVersion"], updated["DefaultVersion"]) == ("2", "1")
    assert code_of(ssm.update_document, Name=document, Content=content(6), DocumentVersion="$LATEST") == "DuplicateDocumentContent"
    assert code_of(ssm.update_document, Name=document, Content=content(7), DocumentVersion="1") == "InvalidDocumentVersion"
    assert ssm.get_document(Name=document)["Content"] == content(5)
    ssm.update_document_default_version(Name=document, DocumentVersion="2")
    assert ssm.get_document(Name=document)["VersionName"] == "six"
    assert ssm.get_document(Name=document, DocumentVersion="$LATEST")["Content"] == content(6)
    versions = ssm.get_paginator("list_document_versions").paginate(Name=document, PaginationConfig={"PageSize": 1})
    assert [(v["DocumentVersion"], v["IsDefaultVersion"]) for page in versions for v in page["DocumentVersions"]] == [("2", True), ("1", False)]
    assert code_of(ssm.delete_document, Name=document, DocumentVersion="2") == "InvalidDocumentOperation"

    listed = ssm.list_documents(Filters=[{"Key": "Owner", "Values": ["Self"]}, {"Key": "tag:team", "Values": ["a"]}])["DocumentIdentifiers"]
    assert [d["Name"] for d in listed] == [document]
    ssm.add_tags_to_resource(ResourceType="Document", ResourceId=document, Tags=[{"Key": "x", "Value": "y"}])
    assert {t["Key"] for t in ssm.list_tags_for_resource(ResourceType="Document", ResourceId=document)["TagList"]} == {"team", "x"}


@pytest.mark.parametrize("arguments,code", [
    (dict(Name="AWS-Mine", DocumentType="Session", Content=content(5)), "ValidationException"),
    (dict(Name="mine", Content=content(5)), "ValidationException"),
    (dict(Name="mine", DocumentType="Session", DocumentFormat="YAML", Content="a: b"), "ValidationException"),
    (dict(Name="mine", DocumentType="Session", Content="{"), "InvalidDocumentContent"),
    (dict(Name="mine", DocumentType="Session", Content=content(61)), "InvalidDocumentContent"),
    (dict(Name="mine", DocumentType="Session", Content=content(5, kmsKeyId="k")), "InvalidDocumentContent"),
    (dict(Name="mine", DocumentType="Session", Content='{"schemaVersion":"2.2"}'), "InvalidDocumentSchemaVersion"),
    (dict(Name="mine", DocumentType="Session", Content=content(5) + " " * 65_536), "MaxDocumentSizeExceeded"),
])
def test_what_cannot_be_kept(ssm, arguments, code):
    assert code_of(ssm.create_document, **arguments) == code
    assert code_of(ssm.get_document, Name="mine") == "InvalidDocument"


def test_preferences(ssm):
    name = "SSM-SessionManagerRunShell"
    assert ssm.describe_document(Name=name)["Document"]["DocumentType"] == "Session"
    version = ssm.update_document(Name=name, Content=content(9), DocumentVersion="$LATEST")["DocumentDescription"]["DocumentVersion"]
    try:
        ssm.update_document_default_version(Name=name, DocumentVersion=version)
        assert ssm.get_document(Name=name)["Content"] == content(9)
    finally:
        ssm.delete_document(Name=name)
    assert ssm.get_document(Name=name)["DocumentVersion"] == "1"
