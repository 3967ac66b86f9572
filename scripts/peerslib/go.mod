module republish

go 1.24

require github.com/bluenviron/gortmplib v1.0.1
