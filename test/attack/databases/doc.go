// Package databases attacks databases through the whole of Sallyport: a gateway, a connector and a real PostgreSQL, MariaDB or
// SQLite file behind it, over each transport in turn. What comes of it is docs/security/databases.md. The statements are those
// of the packages that drive the databases, which try them without the rest. It asserts; it does not know how a driver works.
package databases
