#!/bin/sh
exec @REAL@ @MODE@ "$@"
