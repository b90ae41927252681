"""The sample app: a RealWorld "Conduit" backend that is deployed unchanged in every stage."""
