module example.com/cgi-go

go 1.21
